/* A PSK DTLS 1.2 echo server on OpenSSL, for comparison: one client at a time, cookies on. Prints
 * its port and serves until it is killed. cc -O2 openssl_server.c -lssl -lcrypto */

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const unsigned char COOKIE_SECRET[32] = "a secret of this process alone..";

static unsigned int psk(SSL *ssl, const char *identity, unsigned char *key, unsigned int max) {
    (void)ssl, (void)identity;
    if (max < 16) return 0;
    memcpy(key, "0123456789abcdef", 16);
    return 16;
}

/* HMAC over the client's address. */
static int bake(SSL *ssl, unsigned char *cookie) {
    struct sockaddr_in peer;
    unsigned int len = 32;
    memset(&peer, 0, sizeof peer);
    if (BIO_dgram_get_peer(SSL_get_rbio(ssl), &peer) <= 0) return 0;
    unsigned char of[6];
    memcpy(of, &peer.sin_addr, 4);
    memcpy(of + 4, &peer.sin_port, 2);
    return HMAC(EVP_sha256(), COOKIE_SECRET, sizeof COOKIE_SECRET, of, sizeof of, cookie, &len)
        != NULL;
}

static int generate(SSL *ssl, unsigned char *cookie, unsigned int *len) {
    *len = 16;
    unsigned char whole[32];
    if (!bake(ssl, whole)) return 0;
    memcpy(cookie, whole, 16);
    return 1;
}

static int verify(SSL *ssl, const unsigned char *cookie, unsigned int len) {
    unsigned char whole[32];
    return len == 16 && bake(ssl, whole) && CRYPTO_memcmp(whole, cookie, 16) == 0;
}

static void serve_one(SSL_CTX *context, int fd) {
    static unsigned char buffer[2048];
    SSL *ssl = SSL_new(context);
    BIO *bio = BIO_new_dgram(fd, BIO_NOCLOSE);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_mtu(ssl, 1200);
    BIO_ADDR *address = BIO_ADDR_new();
    while (DTLSv1_listen(ssl, address) <= 0) {
    }
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = BIO_ADDR_rawport(address)};
    size_t len = sizeof peer.sin_addr;
    BIO_ADDR_rawaddress(address, &peer.sin_addr, &len);
    BIO_ADDR_free(address);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0) {
        BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &peer);
        if (SSL_accept(ssl) == 1) {
            int n;
            while ((n = SSL_read(ssl, buffer, sizeof buffer)) > 0) SSL_write(ssl, buffer, n);
            SSL_shutdown(ssl);
        }
    }
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    connect(fd, &nobody, sizeof nobody);
    SSL_free(ssl);
    ERR_clear_error();
}

int main(void) {
    SSL_CTX *context = SSL_CTX_new(DTLS_server_method());
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_COOKIE_EXCHANGE | SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_psk_server_callback(context, psk);
    SSL_CTX_set_cookie_generate_cb(context, generate);
    SSL_CTX_set_cookie_verify_cb(context, verify);
    if (!SSL_CTX_set_cipher_list(context, "PSK-AES128-CCM8")) return 1;

    struct sockaddr_in own = {.sin_family = AF_INET};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t len = sizeof own;
    if (bind(fd, (struct sockaddr *)&own, len) || getsockname(fd, (struct sockaddr *)&own, &len))
        return 1;
    /* Bound by its number, the socket keeps the port when a connection is dissolved. */
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&own, len)) return 1;
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);
    for (;;) serve_one(context, fd);
}
