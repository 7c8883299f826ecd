package peers;

import java.util.Collection;
import org.eclipse.californium.core.network.config.NetworkConfig;
import org.eclipse.leshan.core.observation.Observation;
import org.eclipse.leshan.core.request.ObserveRequest;
import org.eclipse.leshan.server.californium.LeshanServer;
import org.eclipse.leshan.server.californium.LeshanServerBuilder;
import org.eclipse.leshan.server.registration.Registration;
import org.eclipse.leshan.server.registration.RegistrationListener;
import org.eclipse.leshan.server.registration.RegistrationUpdate;

/**
 * Leshan with its registrations in memory. Arguments: port; "observe" to observe 19/0/0 of who registers, as
 * it must to take notifications.
 */
public final class Leshan {
    public static void main(String[] args) throws Exception {
        NetworkConfig config = LeshanServerBuilder.createDefaultNetworkConfig();
        int cores = Runtime.getRuntime().availableProcessors();
        config.setInt(NetworkConfig.Keys.PROTOCOL_STAGE_THREAD_COUNT, cores);
        config.setInt(NetworkConfig.Keys.NETWORK_STAGE_RECEIVER_THREAD_COUNT, cores);
        config.setInt(NetworkConfig.Keys.NETWORK_STAGE_SENDER_THREAD_COUNT, cores);
        config.setInt(NetworkConfig.Keys.MAX_ACTIVE_PEERS, 2_000_000);
        config.setInt(NetworkConfig.Keys.UDP_CONNECTOR_RECEIVE_BUFFER, 8 * 1024 * 1024);
        config.setInt(NetworkConfig.Keys.UDP_CONNECTOR_SEND_BUFFER, 8 * 1024 * 1024);
        LeshanServerBuilder builder = new LeshanServerBuilder();
        builder.setLocalAddress("127.0.0.1", Integer.parseInt(args[0]));
        builder.setCoapConfig(config);
        builder.disableSecuredEndpoint();
        LeshanServer server = builder.build();
        if (args.length > 1 && args[1].equals("observe")) {
            server.getRegistrationService().addListener(new RegistrationListener() {
                @Override
                public void registered(Registration now, Registration before, Collection<Observation> ended) {
                    server.send(now, new ObserveRequest(19, 0, 0), 10_000L, answer -> {}, error -> {});
                }

                @Override
                public void updated(RegistrationUpdate update, Registration now, Registration before) {}

                @Override
                public void unregistered(
                        Registration was, Collection<Observation> ended, boolean expired, Registration now) {}
            });
        }
        server.start();
        System.out.println("ready");
        Thread.currentThread().join();
    }
}
