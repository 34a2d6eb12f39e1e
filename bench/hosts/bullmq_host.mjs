// BullMQ: `worker` processes jobs, `client` adds them; both talk to Redis over the socket that is given.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The packages are where the bench has installed them, not beside this file.
const require = createRequire(process.env.PEERS_NODE_MODULES + "/");
const { Queue, Worker } = require("bullmq");
const { Agent, request } = require("undici");

const [role, path] = process.argv.slice(2);
const CONCURRENCY = 32;
const PAYLOAD = { event: "invoice.due", customer: "c_81724", amount: 1999, currency: "EUR" };
const HEADERS = { "content-type": "application/json", "x-tenant": "acme", "x-source": "bench" };
const OPTIONS = { attempts: 4, backoff: { type: "exponential", delay: 30_000 } };

const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");

function work() {
  const dispatcher = new Agent({ connections: CONCURRENCY, headersTimeout: 30_000, bodyTimeout: 30_000 });
  const deliver = async (job) => {
    const { url, id, payload } = job.data;
    const headers = { ...HEADERS, "x-fliq-delivery-id": id };
    const answer = await request(url, { method: "POST", headers, body: JSON.stringify(payload), dispatcher });
    await answer.body.dump();
    if (Math.floor(answer.statusCode / 100) !== 2) throw new Error(`${url} answered ${answer.statusCode}`);
    return answer.statusCode;
  };
  const worker = new Worker("bench", deliver, {
    connection: { path, maxRetriesPerRequest: null },
    concurrency: CONCURRENCY,
  });
  worker.on("error", (error) => console.error(String(error)));
  worker.waitUntilReady().then(() => say({ ready: true }));
}

async function enqueue(queue, command) {
  const started = performance.now();
  const cpu = process.cpuUsage();
  const end = started + command.seconds * 1000;
  const client = async (number) => {
    let count = 0;
    for (; performance.now() < end; count++) {
      const delay = command.due_ms - Date.now();
      await queue.add("deliver", { url: command.url, id: `far-${number}-${count}`, payload: PAYLOAD }, { ...OPTIONS, delay });
    }
    return count;
  };
  const counts = await Promise.all(Array.from({ length: command.clients }, (_, number) => client(number)));
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - started) / 1000;
  return { count: counts.reduce((sum, count) => sum + count, 0), seconds, cpu_s: (user + system) / 1e6 };
}

async function fill(queue, command) {
  for (let first = 0; first < command.count; first += 1000) {
    const jobs = [];
    for (let number = first; number < Math.min(first + 1000, command.count); number++) {
      const delay = Math.max(0, command.due_ms + number * command.step_ms - Date.now());
      const data = { url: command.url, id: `${command.name}-${number}`, payload: PAYLOAD };
      jobs.push({ name: "deliver", data, opts: { ...OPTIONS, delay } });
    }
    await queue.addBulk(jobs);
  }
  return { count: command.count };
}

async function obey() {
  const queue = new Queue("bench", { connection: { path } });
  await queue.waitUntilReady();
  const answers = { enqueue, fill, recorded: async () => ({ count: await queue.getCompletedCount() }) };
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    say(await answers[command.do](queue, command));
  }
  await queue.close();
}

if (role === "worker") work();
else await obey();
