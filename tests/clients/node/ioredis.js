// ioredis as its users have it: connect, pipeline, transact, block, come back after a restart.
//
// node ioredis.js PORT
"use strict";

const assert = require("node:assert");
const readline = require("node:readline");
const { Redis } = require("ioredis");

const port = Number(process.argv[2]);
const lines = readline.createInterface({ input: process.stdin });

function restart() {
  return new Promise((resolve) => {
    lines.once("line", resolve);
    console.log("RESTART");
  });
}

async function main() {
  const redis = new Redis({ port, maxRetriesPerRequest: null, retryStrategy: () => 50 });
  redis.on("error", () => {});
  assert.equal(await redis.ping(), "PONG");
  assert.equal(await redis.rpush("list", "a", "b", "c"), 3);
  assert.deepEqual(await redis.lrange("list", 0, -1), ["a", "b", "c"]);
  assert.deepEqual(await redis.pipeline().lpop("list").llen("list").get("nothing").exec(), [
    [null, "a"],
    [null, 2],
    [null, null],
  ]);
  assert.deepEqual(await redis.multi().rpush("both", 1).incr("counter").exec(), [
    [null, 1],
    [null, 1],
  ]);

  const waiting = redis.duplicate();
  waiting.on("error", () => {});
  const late = waiting.blpop("late", 5);
  setTimeout(() => redis.rpush("late", "message"), 100);
  assert.deepEqual(await late, ["late", "message"]);
  assert.equal(await waiting.blpop("late", 0.1), null);

  await restart();
  assert.deepEqual(await redis.lrange("list", 0, -1), ["b", "c"]);
  const again = waiting.blpop("late", 5);
  setTimeout(() => redis.rpush("late", "after"), 100);
  assert.deepEqual(await again, ["late", "after"]);
  redis.disconnect();
  waiting.disconnect();
  lines.close();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
