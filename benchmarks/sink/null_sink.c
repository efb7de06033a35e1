/* A Blob service that keeps nothing: takes writes, discards their bodies, counts.

   null_sink [CERTIFICATE KEY]

   Listens on a free port of 127.0.0.1 (over TLS when a certificate is given), prints the port, and
   ends with its standard input. A thread a connection; HTTP/1.1 with keep-alive and Content-Length.
   GET /-/figures answers "PUTS BYTES SPAN_SECONDS BLOBS BLOB_BYTES BEGUN" and begins to count anew; the
   span is from the head of the first PUT (BEGUN, of the monotonic clock) to the end of the last, and
   blobs are those that were completed.
   GET /-/figures?PREFIX does so too, forgets all blobs, and from then on counts only paths that begin
   with PREFIX.
   HEAD knows the size, mtime and MD5 of what was put. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 32 << 10, WINDOW_BYTES = 256 << 10, BUCKETS = 1 << 17, PATH_BYTES = 2048, VALUE_BYTES = 96 };

struct peer { int fd; SSL *ssl; size_t held; char head[HEAD_BYTES + 1], window[WINDOW_BYTES]; };
struct block { unsigned long long id, size; };
struct blob { struct blob *next; struct block *blocks; size_t count, room; unsigned long long staged, size; int is_there; char mtime[VALUE_BYTES], md5[VALUE_BYTES], path[]; };

static SSL_CTX *tls;
static struct blob *table[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long puts_seen, bytes_seen, blobs_seen, blob_bytes_seen;
static char watched[PATH_BYTES];
static double first_put, last_put;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static ssize_t receive(struct peer *peer, void *into, size_t most) {
    return peer->ssl ? SSL_read(peer->ssl, into, most) : recv(peer->fd, into, most, 0);
}

static int discard(struct peer *peer, unsigned long long left) {
    while (left) {
        size_t most = left < WINDOW_BYTES ? left : WINDOW_BYTES;
        ssize_t got = peer->ssl ? SSL_read(peer->ssl, peer->window, most)
                                : recv(peer->fd, NULL, left < 16 << 20 ? left : 16 << 20, MSG_TRUNC);
        if (got <= 0) return 0;
        left -= got;
    }
    return 1;
}

static int say(struct peer *peer, const char *text, size_t length) {
    while (length) {
        ssize_t sent = peer->ssl ? SSL_write(peer->ssl, text, length) : send(peer->fd, text, length, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        text += sent, length -= sent;
    }
    return 1;
}

/* The value of a header within a head that ends in a zero byte, or an empty text. */
static void find(const char *head, const char *name, char *value) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\r\n%s:", name);
    const char *at = strcasestr(head, wanted);
    *value = 0;
    if (!at) return;
    at += strlen(wanted);
    at += strspn(at, " \t");
    size_t length = strcspn(at, "\r\n");
    if (length >= VALUE_BYTES) length = VALUE_BYTES - 1;
    memcpy(value, at, length);
    value[length] = 0;
}

static struct blob *blob_at(const char *path) {
    unsigned hash = 2166136261u;
    for (const char *at = path; *at; at++) hash = (hash ^ (unsigned char)*at) * 16777619u;
    struct blob **bucket = &table[hash % BUCKETS], *found = *bucket;
    while (found && strcmp(found->path, path)) found = found->next;
    if (found) return found;
    found = calloc(1, sizeof *found + strlen(path) + 1);
    if (!found) abort();
    strcpy(found->path, path);
    found->next = *bucket;
    return *bucket = found;
}

/* A block that is staged again takes the place of the one before. */
static void stage(struct blob *blob, const char *query, unsigned long long size) {
    const char *at = strstr(query, "blockid=");
    unsigned long long id = 14695981039346656037ull;
    for (at = at ? at + 8 : ""; *at && *at != '&'; at++) id = (id ^ (unsigned char)*at) * 1099511628211ull;
    size_t place = blob->count;
    while (place && blob->blocks[place - 1].id != id) place--;
    if (place) blob->staged -= blob->blocks[--place].size;
    else {
        if (blob->count == blob->room) {
            blob->room = blob->room ? 2 * blob->room : 64;
            if (!(blob->blocks = realloc(blob->blocks, blob->room * sizeof *blob->blocks))) abort();
        }
        place = blob->count++;
    }
    blob->blocks[place] = (struct block){id, size};
    blob->staged += size;
}

static int is_watched(const char *path) {
    return !strncmp(path, watched, strlen(watched));
}

static void keep(const char *head, const char *path, const char *query, unsigned long long length) {
    pthread_mutex_lock(&lock);
    struct blob *blob = blob_at(path);
    int is_counted = is_watched(path);
    if (is_counted) puts_seen++, bytes_seen += length, last_put = now();
    if (strstr(query, "comp=block") && !strstr(query, "comp=blocklist")) stage(blob, query, length);
    else {
        blob->size = strstr(query, "comp=blocklist") ? blob->staged : length;
        blob->staged = blob->count = 0, blob->is_there = 1;
        if (is_counted) blobs_seen++, blob_bytes_seen += blob->size;
        find(head, "x-ms-meta-mtime", blob->mtime);
        find(head, "x-ms-blob-content-md5", blob->md5);
    }
    pthread_mutex_unlock(&lock);
}

static void forget(void) {
    for (unsigned at = 0; at < BUCKETS; at++) {
        for (struct blob *blob = table[at], *next; blob; blob = next) next = blob->next, free(blob->blocks), free(blob);
        table[at] = NULL;
    }
}

static int answer(struct peer *peer, const char *status, const char *headers, unsigned long long length, const char *body) {
    char text[4096];
    int size = snprintf(text, sizeof text,
                        "HTTP/1.1 %s\r\nServer: null-sink\r\nx-ms-request-id: 0-0-0\r\nx-ms-version: 2024-11-04\r\n"
                        "Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nETag: \"0x8D1\"\r\n"
                        "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n%sContent-Length: %llu\r\n\r\n%s",
                        status, headers, length, body);
    return say(peer, text, size);
}

static int answer_head(struct peer *peer, const char *path) {
    char headers[512];
    pthread_mutex_lock(&lock);
    struct blob *blob = blob_at(path);
    int is_there = blob->is_there;
    unsigned long long size = blob->size;
    snprintf(headers, sizeof headers, "x-ms-blob-type: BlockBlob\r\nContent-Type: application/octet-stream\r\n%s%s%s%s%s%s",
             *blob->mtime ? "x-ms-meta-mtime: " : "", blob->mtime, *blob->mtime ? "\r\n" : "",
             *blob->md5 ? "Content-MD5: " : "", blob->md5, *blob->md5 ? "\r\n" : "");
    pthread_mutex_unlock(&lock);
    if (!is_there) return answer(peer, "404 Not Found", "x-ms-error-code: BlobNotFound\r\n", 0, "");
    return answer(peer, "200 OK", headers, size, "");
}

static int answer_get(struct peer *peer, const char *path, const char *query) {
    char figures[160];
    const char *body = "<?xml version=\"1.0\"?><EnumerationResults><Blobs/><NextMarker/></EnumerationResults>";
    if (!strcmp(path, "/-/figures")) {
        pthread_mutex_lock(&lock);
        snprintf(figures, sizeof figures, "%llu %llu %.6f %llu %llu %.6f\n", puts_seen, bytes_seen,
                 last_put - first_put, blobs_seen, blob_bytes_seen, first_put);
        puts_seen = bytes_seen = blobs_seen = blob_bytes_seen = 0, first_put = last_put = 0;
        snprintf(watched, sizeof watched, "%s", query + (*query == '?'));
        if (*watched) forget();
        pthread_mutex_unlock(&lock);
        body = figures;
    } else if (strstr(query, "comp=blocklist"))
        body = "<?xml version=\"1.0\"?><BlockList><CommittedBlocks/><UncommittedBlocks/></BlockList>";
    return answer(peer, "200 OK", "Content-Type: application/xml\r\n", strlen(body), body);
}

/* One request; 0 when the connection is to end. */
static int serve(struct peer *peer) {
    char *end, path[PATH_BYTES], value[VALUE_BYTES], echo[VALUE_BYTES + 64] = "";
    while (!(end = memmem(peer->head, peer->held, "\r\n\r\n", 4))) {
        ssize_t got = peer->held < HEAD_BYTES ? receive(peer, peer->head + peer->held, HEAD_BYTES - peer->held) : 0;
        if (got <= 0) return 0;
        peer->held += got;
    }
    size_t head_bytes = end + 4 - peer->head, early = peer->held - head_bytes;
    end[2] = 0; /* the head ends after its last header */
    char *target = strchr(peer->head, ' '), *stop = target ? strchr(target + 1, ' ') : NULL;
    if (!stop) return 0;
    size_t path_bytes = strcspn(target + 1, "? "), is_put = !strncmp(peer->head, "PUT ", 4);
    if (path_bytes >= PATH_BYTES) return 0;
    memcpy(path, target + 1, path_bytes);
    path[path_bytes] = 0;
    char query[1024] = "";
    if (target[1 + path_bytes] == '?') snprintf(query, sizeof query, "%.*s", (int)(stop - target - 1 - path_bytes), target + 1 + path_bytes);
    find(peer->head, "content-length", value);
    unsigned long long length = strtoull(value, NULL, 10), taken = early < length ? early : length;
    find(peer->head, "transfer-encoding", value);
    if (*value) return answer(peer, "411 Length Required", "Connection: close\r\n", 0, ""), 0;
    find(peer->head, "expect", value);
    if (*value && !early && !say(peer, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return 0;

    int is_counted = is_put && !strstr(query, "restype=container");
    if (is_counted) {
        pthread_mutex_lock(&lock);
        if (first_put == 0 && is_watched(path)) first_put = now();
        pthread_mutex_unlock(&lock);
    }
    if (!discard(peer, length - taken)) return 0;
    find(peer->head, "x-ms-content-crc64", value);
    if (*value) snprintf(echo, sizeof echo, "x-ms-content-crc64: %s\r\n", value);
    find(peer->head, "connection", value);

    int is_alive;
    if (is_counted) keep(peer->head, path, query, length);
    if (is_put) is_alive = answer(peer, "201 Created", echo, 0, "");
    else if (!strncmp(peer->head, "HEAD ", 5)) is_alive = answer_head(peer, path);
    else if (!strncmp(peer->head, "GET ", 4)) is_alive = answer_get(peer, path, query);
    else is_alive = answer(peer, "202 Accepted", "", 0, "");
    memmove(peer->head, peer->head + head_bytes + taken, early - taken);
    peer->held = early - taken;
    return is_alive && !strcasestr(value, "close");
}

static void *attend(void *given) {
    struct peer *peer = given;
    if (!peer->ssl || SSL_accept(peer->ssl) > 0)
        while (serve(peer)) {}
    if (peer->ssl) SSL_free(peer->ssl);
    close(peer->fd);
    free(peer);
    return NULL;
}

static void *leash(void *unused) {
    char ignored[64];
    while (read(0, ignored, sizeof ignored) > 0) {}
    _exit(0);
    return unused;
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    if (count == 3) {
        tls = SSL_CTX_new(TLS_server_method());
        if (!tls || SSL_CTX_use_certificate_chain_file(tls, arguments[1]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, arguments[2], SSL_FILETYPE_PEM) != 1) return 1;
        SSL_CTX_set_read_ahead(tls, 1);
        SSL_CTX_set_default_read_buffer_len(tls, WINDOW_BYTES);
    }
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    if (bind(door, (void *)&place, size) || listen(door, 1024) || getsockname(door, (void *)&place, &size)) return 1;
    printf("%d\n", ntohs(place.sin_port));
    fflush(stdout);
    pthread_t thread;
    pthread_create(&thread, NULL, leash, NULL);
    for (;;) {
        int fd = accept(door, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct peer *peer = malloc(sizeof *peer);
        if (!peer) abort();
        peer->fd = fd, peer->held = 0, peer->ssl = NULL;
        if (tls) SSL_set_fd(peer->ssl = SSL_new(tls), fd);
        if (pthread_create(&thread, NULL, attend, peer)) abort();
        pthread_detach(thread);
    }
}
