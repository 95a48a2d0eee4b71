// Streams and groups with ioredis: produce, deliver, look at what is pending, claim, trim; and a worker whose connection
// is killed again and again while it waits, reads and acknowledges.
//
// node ioredis-streams.js PORT
"use strict";

const assert = require("node:assert");
const { Redis } = require("ioredis");

const port = Number(process.argv[2]);

async function everyDay(redis) {
  const ids = [];
  for (let number = 0; number < 5; number++) ids.push(await redis.xadd("tasks", "*", "number", number));
  assert.equal(await redis.xlen("tasks"), 5);
  assert.deepEqual(await redis.xrange("tasks", ids[1], ids[1]), [[ids[1], ["number", "1"]]]);
  assert.equal(await redis.xgroup("CREATE", "tasks", "workers", "0"), "OK");
  await assert.rejects(redis.xgroup("CREATE", "tasks", "workers", "0"), /^ReplyError: BUSYGROUP/);
  const read = ["GROUP", "workers", "ann", "COUNT", 3, "STREAMS", "tasks", ">"];
  const [[stream, entries]] = await redis.xreadgroup(...read);
  assert.equal(stream, "tasks");
  assert.deepEqual(entries.map(([id]) => id), ids.slice(0, 3));
  assert.deepEqual(await redis.xpending("tasks", "workers"), [3, ids[0], ids[2], [["ann", "3"]]]);
  const rows = await redis.xpending("tasks", "workers", "IDLE", 0, "-", "+", 10, "ann");
  assert.deepEqual(rows.map(([id, consumer, , count]) => [id, consumer, count]), ids.slice(0, 3).map((id) => [id, "ann", 1]));
  assert.equal(await redis.xack("tasks", "workers", ids[0]), 1);
  assert.deepEqual(await redis.xclaim("tasks", "workers", "bob", 0, ids[1]), [[ids[1], ["number", "1"]]]);
  await redis.xdel("tasks", ids[2]);
  const [next, claimed, deleted] = await redis.xautoclaim("tasks", "workers", "bob", 0, "0", "COUNT", 10);
  assert.deepEqual([next, claimed.map(([id]) => id), deleted], ["0-0", [ids[1]], [ids[2]]]);
  const [group] = await redis.xinfo("GROUPS", "tasks");
  const told = Object.fromEntries(Array.from({ length: group.length / 2 }, (_, at) => group.slice(2 * at, 2 * at + 2)));
  assert.deepEqual([told.name, told.consumers, told.pending, told.lag], ["workers", 2, 1, 2]);
  const full = await redis.xinfo("STREAM", "tasks", "FULL");
  assert.equal(full[full.indexOf("entries-added") + 1], 5);
  assert.equal(await redis.xtrim("tasks", "MAXLEN", 1), 3);
  const answers = await redis.multi().xadd("tasks", "MAXLEN", "~", 100, "*", "number", 5).xlen("tasks").exec();
  assert.deepEqual(answers[1], [null, 2]);
}

// What the worker had when its connection died is its own: it asks for that first. Nothing acknowledged comes again.
async function killedWhileWorking(redis) {
  const jobs = 400;
  const worker = new Redis({ port, connectionName: "worker", maxRetriesPerRequest: null, retryStrategy: () => 1 });
  worker.on("error", () => {});
  let reconnected = false;
  let kills = 0;
  worker.on("close", () => {
    reconnected = true;
    kills++;
  });
  await redis.xgroup("CREATE", "jobs", "workers", "0", "MKSTREAM");
  const seen = new Set();
  const acknowledged = new Set();
  let over = false;
  const loop = (async () => {
    let from = "0";
    while (!over) {
      if (reconnected) [from, reconnected] = ["0", false];
      const read = ["GROUP", "workers", "one", "COUNT", 5, "BLOCK", 100, "STREAMS", "jobs", from];
      const reply = await worker.xreadgroup(...read);
      const entries = reply ? reply[0][1] : [];
      if (from === "0" && entries.length === 0) from = ">";
      for (const [id, [, number]] of entries) {
        assert(!acknowledged.has(id), `${id} was acknowledged and came again`);
        seen.add(Number(number));
        if ((await worker.xack("jobs", "workers", id)) === 1) acknowledged.add(id);
      }
    }
  })();
  const killer = setInterval(async () => {
    const list = await redis.client("LIST");
    const line = list.split("\n").find((line) => line.includes(" name=worker "));
    if (line) await redis.client("KILL", "ID", line.match(/^id=(\d+)/)[1]).catch(() => {});
  }, 15);
  for (let number = 0; number < jobs; number++) {
    await redis.xadd("jobs", "*", "number", number);
    if (number % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const done = async () => {
    const [pending] = await redis.xpending("jobs", "workers");
    return seen.size === jobs && pending === 0;
  };
  const deadline = Date.now() + 20000;
  while (!(await done())) {
    assert(Date.now() < deadline, `${seen.size} of ${jobs} jobs came`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  clearInterval(killer);
  over = true;
  await loop;
  assert(kills > 3, `the connection was killed ${kills} times`);
  worker.disconnect();
}

async function main() {
  const redis = new Redis({ port });
  await everyDay(redis);
  await killedWhileWorking(redis);
  redis.disconnect();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
