/* hiredis as its users have it: connect, pipeline, block, connect again after a restart.
 *
 * lists PORT */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "not so: %s\n", what);
        exit(1);
    }
}

static redisContext *connect_to(int port) {
    redisContext *context = redisConnect("127.0.0.1", port);
    expect(context != NULL && !context->err, "a connection");
    return context;
}

int main(int argc, char **argv) {
    expect(argc == 2, "lists PORT");
    int port = atoi(argv[1]);
    redisContext *context = connect_to(port);
    redisReply *reply = redisCommand(context, "RPUSH list %s %b", "a", "b\0c", (size_t)3);
    expect(reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == 2, "RPUSH answers 2");
    freeReplyObject(reply);

    for (int count = 0; count < 1000; count++) redisAppendCommand(context, "RPUSH piped %d", count);
    for (int count = 0; count < 1000; count++) {
        expect(redisGetReply(context, (void **)&reply) == REDIS_OK && reply->integer == count + 1, "a pipelined reply");
        freeReplyObject(reply);
    }

    reply = redisCommand(context, "LRANGE list 0 -1");
    expect(reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2, "LRANGE answers two elements");
    expect(reply->element[1]->len == 3 && memcmp(reply->element[1]->str, "b\0c", 3) == 0, "bytes are bytes");
    freeReplyObject(reply);

    redisContext *producer = connect_to(port);
    redisAppendCommand(context, "BLPOP late 5");
    int done = 0;
    while (!done) expect(redisBufferWrite(context, &done) == REDIS_OK, "the request is sent");
    freeReplyObject(redisCommand(producer, "RPUSH late message"));
    expect(redisGetReply(context, (void **)&reply) == REDIS_OK && reply->elements == 2, "BLPOP is answered");
    expect(strcmp(reply->element[1]->str, "message") == 0, "with the message");
    freeReplyObject(reply);
    reply = redisCommand(context, "BLPOP late 0.1");
    expect(reply && reply->type == REDIS_REPLY_NIL, "BLPOP gives up");
    freeReplyObject(reply);

    puts("RESTART");
    fflush(stdout);
    getchar();
    expect(redisReconnect(context) == REDIS_OK, "connecting again");
    reply = redisCommand(context, "LLEN piped");
    expect(reply && reply->integer == 1000, "everything is still there");
    freeReplyObject(reply);
    redisFree(producer);
    redisFree(context);
    return 0;
}
