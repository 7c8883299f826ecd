package peers;

import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.eclipse.californium.core.CoapResource;
import org.eclipse.californium.core.CoapServer;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.core.server.resources.CoapExchange;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.config.UdpConfig;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedMultiPskStore;

/**
 * Californium, plain and over DTLS-PSK: GET /echo answers four bytes. Arguments: plain port, secured port,
 * identity, key in hex.
 */
public final class Echo {
    public static void main(String[] args) throws Exception {
        CoapConfig.register();
        DtlsConfig.register();
        int cores = Runtime.getRuntime().availableProcessors();
        Configuration config = Configuration.createStandardWithoutFile();
        // Its documentation's advice for many clients: a protocol stage thread per core, larger socket
        // buffers, room for the sessions.
        config.set(CoapConfig.PROTOCOL_STAGE_THREAD_COUNT, cores);
        config.set(CoapConfig.MAX_ACTIVE_PEERS, 2_000_000);
        config.set(UdpConfig.UDP_RECEIVER_THREAD_COUNT, cores);
        config.set(UdpConfig.UDP_SENDER_THREAD_COUNT, cores);
        config.set(UdpConfig.UDP_RECEIVE_BUFFER_SIZE, 8 * 1024 * 1024);
        config.set(UdpConfig.UDP_SEND_BUFFER_SIZE, 8 * 1024 * 1024);
        config.set(DtlsConfig.DTLS_MAX_CONNECTIONS, 2_000_000);
        config.set(DtlsConfig.DTLS_RECEIVER_THREAD_COUNT, cores);
        config.set(DtlsConfig.DTLS_CONNECTOR_THREAD_COUNT, cores);
        config.set(DtlsConfig.DTLS_RECEIVE_BUFFER_SIZE, 8 * 1024 * 1024);

        CoapServer server = new CoapServer(config);
        CoapEndpoint.Builder plain = CoapEndpoint.builder();
        plain.setInetSocketAddress(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
        plain.setConfiguration(config);
        server.addEndpoint(plain.build());

        AdvancedMultiPskStore keys = new AdvancedMultiPskStore();
        keys.setKey(args[2], HexFormat.of().parseHex(args[3]));
        DtlsConnectorConfig.Builder dtls = DtlsConnectorConfig.builder(config);
        dtls.setAddress(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[1])));
        dtls.setAdvancedPskStore(keys);
        dtls.setAsList(DtlsConfig.DTLS_CIPHER_SUITES, CipherSuite.TLS_PSK_WITH_AES_128_CCM_8);
        CoapEndpoint.Builder secured = CoapEndpoint.builder();
        secured.setConnector(new DTLSConnector(dtls.build()));
        secured.setConfiguration(config);
        server.addEndpoint(secured.build());

        byte[] answer = "echo".getBytes(StandardCharsets.US_ASCII);
        server.add(new CoapResource("echo") {
            @Override
            public void handleGET(CoapExchange exchange) {
                exchange.respond(org.eclipse.californium.core.coap.CoAP.ResponseCode.CONTENT, answer, 42);
            }
        });
        server.start();
        System.out.println("ready");
        Thread.currentThread().join();
    }
}
