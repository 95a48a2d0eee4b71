// A worker that moves jobs with BRPOPLPUSH in a loop, under ioredis as bull uses it: each reply arrives, none is lost.
//
// node ioredis-loop.js PORT JOBS
"use strict";

const assert = require("node:assert");
const { Redis } = require("ioredis");

const [port, count] = process.argv.slice(2).map(Number);

async function main() {
  const worker = new Redis({ port, maxRetriesPerRequest: null });
  const producer = new Redis({ port });
  const moved = [];
  const loop = (async () => {
    while (moved.length < count) {
      const job = await worker.brpoplpush("wait", "active", 1);
      if (job === null) continue;
      moved.push(job);
      // What bull does next on another connection: the job is done.
      producer.lrem("active", 1, job);
    }
  })();
  for (let number = 0; number < count; number++) {
    // In bursts, one by one, and in transactions: the worker waits for some and finds others there.
    if (number % 3 === 0) await producer.lpush("wait", `job ${number}`);
    else if (number % 3 === 1) producer.lpush("wait", `job ${number}`);
    else await producer.multi().lpush("wait", `job ${number}`).incr("sent").exec();
    if (number % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await loop;
  assert.deepEqual(moved, Array.from({ length: count }, (_, number) => `job ${number}`));
  assert.deepEqual(await producer.multi().llen("wait").llen("active").exec(), [[null, 0], [null, 0]]);
  worker.disconnect();
  producer.disconnect();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
