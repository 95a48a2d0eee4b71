// Streams and groups with node-redis, through its own helpers and parsers, the newest commands included; and a worker
// whose connection is killed again and again while it waits, reads and acknowledges.
//
// node node-redis-streams.js PORT PROTOCOL
"use strict";

const assert = require("node:assert");
const { createClient } = require("redis");

const port = Number(process.argv[2]);
const RESP = Number(process.argv[3]);

async function connect(name) {
  const client = createClient({ RESP, name, socket: { port, reconnectStrategy: () => 1 } });
  client.on("error", () => {});
  await client.connect();
  return client;
}

const ids = (messages) => messages.map(({ id }) => id);

async function everyDay(client) {
  const all = [];
  for (let number = 0; number < 5; number++) all.push(await client.xAdd("tasks", "*", { number: `${number}` }));
  assert.equal(await client.xLen("tasks"), 5);
  assert.deepEqual({ ...(await client.xRange("tasks", all[1], all[1]))[0].message }, { number: "1" });
  assert.equal(await client.xGroupCreate("tasks", "workers", "0"), "OK");
  await assert.rejects(client.xGroupCreate("tasks", "workers", "0"), /BUSYGROUP/);
  const reply = await client.xReadGroup("workers", "ann", { key: "tasks", id: ">" }, { COUNT: 3 });
  assert.deepEqual([reply[0].name, ids(reply[0].messages)], ["tasks", all.slice(0, 3)]);
  const summary = await client.xPending("tasks", "workers");
  assert.deepEqual([summary.pending, summary.firstId, summary.lastId], [3, all[0], all[2]]);
  assert.deepEqual(summary.consumers, [{ name: "ann", deliveriesCounter: 3 }]);
  const rows = await client.xPendingRange("tasks", "workers", "-", "+", 10, { IDLE: 0, consumer: "ann" });
  assert.deepEqual(rows.map((row) => [row.id, row.deliveriesCounter]), all.slice(0, 3).map((id) => [id, 1]));
  assert.equal(await client.xAck("tasks", "workers", all[0]), 1);
  assert.deepEqual(ids(await client.xClaim("tasks", "workers", "bob", 0, all[1])), [all[1]]);
  assert.equal(await client.xDel("tasks", all[2]), 1);
  const claimed = await client.xAutoClaim("tasks", "workers", "bob", 0, "0");
  assert.deepEqual([claimed.nextId, ids(claimed.messages), [...claimed.deletedMessages]], ["0-0", [all[1]], [all[2]]]);
  const [group] = await client.xInfoGroups("tasks");
  assert.deepEqual([group.name, group.consumers, group.pending, group.lag], ["workers", 2, 1, 2]);
  const consumers = await client.xInfoConsumers("tasks", "workers");
  assert.deepEqual(consumers.map(({ name, pending }) => [name, pending]), [["ann", 0], ["bob", 1]]);
  const stream = await client.xInfoStream("tasks");
  assert.deepEqual([stream.length, stream["entries-added"], stream["first-entry"].id], [4, 5, all[0]]);
  assert.equal(await client.xTrim("tasks", "MAXLEN", 1), 3);
  const TRIM = { strategy: "MAXLEN", strategyModifier: "~", threshold: 100 };
  const answers = await client.multi().xAdd("tasks", "*", { number: "5" }, { TRIM }).xLen("tasks").exec();
  assert.equal(answers[1], 2);
}

async function newest(client) {
  // A message that is sent again is added once.
  const IDMP = { pid: "producer", iid: "17" };
  const id = await client.xAdd("once", "*", { f: "v" }, { IDMP });
  assert.equal(await client.xAdd("once", "*", { f: "v" }, { IDMP }), id);
  assert.equal(await client.xCfgSet("once", { IDMP_DURATION: 60, IDMP_MAXSIZE: 10 }), "OK");
  const stream = await client.xInfoStream("once");
  assert.deepEqual([stream["idmp-duration"], stream["idmp-maxsize"], stream["iids-duplicates"]], [60, 10, 1]);
  // Given back, it is claimed before anything new comes.
  await client.xGroupCreate("once", "workers", "0");
  await client.xReadGroup("workers", "ann", { key: "once", id: ">" });
  assert.equal(await client.xNack("once", "workers", "FAIL", id), 1);
  const next = await client.xAdd("once", "*", { f: "w" });
  const streams = { key: "once", id: ">" };
  const [{ messages }] = await client.xReadGroup("workers", "bob", streams, { CLAIM: 3600000, MAXCOUNT: 5 });
  assert.deepEqual(ids(messages), [id, next]);
  assert.deepEqual([messages[0].deliveriesCounter, messages[1].deliveriesCounter], [1, 0]);
  const done = await client.xAckDel("once", "workers", [id, next, "1-1"], "DELREF");
  assert.deepEqual([...done], [1, 1, -1]);
  assert.equal(await client.xLen("once"), 0);
}

// What the worker had when its connection died is its own: it asks for that first. Nothing acknowledged comes again.
async function killedWhileWorking(client) {
  const jobs = 400;
  const worker = await connect("worker");
  await client.xGroupCreate("jobs", "workers", "0", { MKSTREAM: true });
  const seen = new Set();
  const acknowledged = new Set();
  let over = false;
  let kills = 0;
  const loop = (async () => {
    let from = "0";
    while (!over) {
      try {
        const reply = await worker.xReadGroup("workers", "one", { key: "jobs", id: from }, { COUNT: 5, BLOCK: 100 });
        const messages = reply ? reply[0].messages : [];
        if (from === "0" && messages.length === 0) from = ">";
        for (const { id, message } of messages) {
          assert(!acknowledged.has(id), `${id} was acknowledged and came again`);
          seen.add(Number(message.number));
          if ((await worker.xAck("jobs", "workers", id)) === 1) acknowledged.add(id);
        }
      } catch (error) {
        if (error.code === "ERR_ASSERTION") throw error;
        // The connection is gone: the client makes another, we look what we still have.
        kills++;
        from = "0";
      }
    }
  })();
  const killer = setInterval(async () => {
    const found = (await client.clientList()).find(({ name }) => name === "worker");
    if (found) await client.clientKill({ filter: "ID", id: found.id }).catch(() => {});
  }, 15);
  for (let number = 0; number < jobs; number++) {
    await client.xAdd("jobs", "*", { number: `${number}` });
    if (number % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const deadline = Date.now() + 20000;
  const done = async () => seen.size === jobs && (await client.xPending("jobs", "workers")).pending === 0;
  while (!(await done())) {
    assert(Date.now() < deadline, `${seen.size} of ${jobs} jobs came`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  clearInterval(killer);
  over = true;
  await loop;
  assert(kills > 3, `the connection was killed ${kills} times`);
  worker.destroy();
}

async function main() {
  const client = await connect("main");
  await everyDay(client);
  await newest(client);
  await killedWhileWorking(client);
  client.destroy();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
