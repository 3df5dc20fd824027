/*
 * A receiver of Ringback's webhooks that credits each recharge exactly once. docs/receiving.md tells why it does what it does.
 *
 *     node build/receiver.js                     serves POST /hooks until SIGTERM
 *     node build/receiver.js open ACCOUNT_NO     opens an account
 *     node build/receiver.js reconcile TX_NO     asks pay-service what became of a recharge that nothing was heard of, and credits it
 *
 * Settings are environment variables: WEBHOOK_SECRET (whsec_…) to serve; PAY_SERVICE_KEY, PAY_SERVICE_URL and RECONCILE_WAITS (seconds
 * between the questions) to reconcile; LISTEN and DATABASE (a file of SQLite).
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import Database from "libsql";
import { Webhook } from "standardwebhooks";

const MAX_BODY = 64 * 1024;
const MAX_AMOUNT = 1_000_000_000_000; // minor units; far below the largest safe integer
const FINAL = ["succeeded", "failed", "closed"];
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS accounts (
    account_no TEXT PRIMARY KEY, currency TEXT NOT NULL, balance INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE IF NOT EXISTS credits (
    tx_no TEXT PRIMARY KEY, account_no TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, event_id TEXT) STRICT;
`;

/** What can't be credited: a question for people. Nothing was changed. */
class Refused extends Error {}

const { env } = process;
const db = new Database(env["DATABASE"] ?? "receiver.db", { timeout: 5_000 }); // milliseconds to wait for other writers
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");

/** The parts of a succeeded recharge that the books need. An amount is an integer, and goes to the database as a BigInt. */
function checked(recharge: unknown): [txNo: string, accountNo: string, amount: bigint, currency: string] {
  const { status, tx_no, account_no, amount, currency } = (recharge ?? {}) as Record<string, unknown>;
  const isAmount = typeof amount === "number" && Number.isSafeInteger(amount) && amount >= 1 && amount <= MAX_AMOUNT;
  if (status !== "succeeded" || typeof tx_no !== "string" || typeof account_no !== "string" || !isAmount || typeof currency !== "string") {
    throw new Refused("this is no succeeded recharge");
  }
  return [tx_no, account_no, BigInt(amount), currency];
}

/**
 * Credits a recharge, however often and by whomever it is told: the key of `credits` lets it in once, and the balance moves in the
 * same transaction. Returns after the commit.
 */
function credit(recharge: unknown, eventId: string | null): void {
  const told = checked(recharge);
  const [txNo, accountNo, amount, currency] = told;
  const post = db.transaction(() => {
    const insert = db.prepare("INSERT INTO credits VALUES (?, ?, ?, ?, ?) ON CONFLICT (tx_no) DO NOTHING");
    if (insert.run(...told, eventId).changes === 0) {
      const same = db.prepare("SELECT 1 FROM credits WHERE (tx_no, account_no, amount, currency) = (?, ?, ?, ?)");
      if (same.all(...told).length === 0) throw new Refused(`${txNo} was credited with other content`);
      return;
    }
    const move = db.prepare("UPDATE accounts SET balance = balance + ? WHERE account_no = ? AND currency = ?");
    if (move.run(amount, accountNo, currency).changes === 0) throw new Refused(`there is no account ${accountNo} in ${currency}`);
  });
  post.immediate();
}

/** The bytes as they were sent; null when there are too many. Those are read to their end all the same, so that the answer is heard. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length <= MAX_BODY) chunks.push(chunk);
  }
  return length <= MAX_BODY ? Buffer.concat(chunks) : null;
}

/** The status to answer a webhook with, and a word on it. 2xx means that it need not come again. */
async function receive(webhook: Webhook, request: IncomingMessage): Promise<[status: number, text: string]> {
  if (request.method !== "POST" || request.url !== "/hooks") return [404, "webhooks go to POST /hooks"];
  const body = await bodyOf(request);
  if (body === null) return [413, "the body is too long"];
  const headers = request.headers as Record<string, string>;
  try {
    webhook.verify(body, headers, { jsonParse: false });
  } catch {
    return [401, "not signed with the secret, or more than five minutes off"];
  }
  try {
    const event = JSON.parse(body.toString("utf8")) as { type?: unknown; data?: unknown } | null;
    if (typeof event?.type !== "string") throw new Refused("this is no event");
    if (event.type === "recharge.succeeded") credit(event.data, headers["webhook-id"] ?? null);
  } catch (error) {
    const refused = error instanceof Refused || error instanceof SyntaxError;
    return refused ? [422, error.message] : [503, "the database does not take it"];
  }
  return [200, "taken"];
}

function serve(webhook: Webhook): void {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [status, text] = await receive(webhook, request);
    response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(`${text}\n`);
  };
  // A request must be here within 10 s. One that breaks off needs no answer.
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  const [, host, port] = /^(.*):(\d+)$/.exec(env["LISTEN"] ?? "127.0.0.1:9000") ?? [];
  server.listen(Number(port), host);
  const stop = (): void => {
    server.close(() => db.close()); // after the answers under way
    server.closeIdleConnections();
  };
  process.once("SIGTERM", stop).once("SIGINT", stop);
}

/** The recharge as pay-service knows it; null where it gave no answer about it, which says nothing about the money. */
async function ask(txNo: string): Promise<Record<string, unknown> | null> {
  const url = `${env["PAY_SERVICE_URL"] ?? "http://127.0.0.1:8081"}/v1/payresult/${encodeURIComponent(txNo)}`;
  const headers = { authorization: `Bearer ${setting("PAY_SERVICE_KEY")}` };
  try {
    const answer = await fetch(url, { headers, redirect: "error", signal: AbortSignal.timeout(5_000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const recharge = (await answer.json()) as Record<string, unknown> | null;
    return recharge?.["tx_no"] === txNo ? recharge : null;
  } catch (error) { // down, slow, any status but 2xx, no JSON
    console.error(`no answer about ${txNo}: ${String(error instanceof Error ? (error.cause ?? error) : error)}`);
    return null;
  }
}

/** Asks until the result is final, and credits what succeeded. Returns the status, or `unknown`. */
async function reconcile(txNo: string): Promise<string> {
  const waits = (env["RECONCILE_WAITS"] ?? "1,2,4,8,16").split(",").map(Number);
  let status = "unknown";
  for (const wait of [0, ...waits]) {
    await sleep(wait * 1_000 * (0.5 + Math.random() / 2));
    const recharge = await ask(txNo);
    status = String(recharge?.["status"] ?? "unknown");
    if (status === "succeeded") credit(recharge, null);
    if (FINAL.includes(status)) break;
  }
  return status;
}

function setting(name: string): string {
  const value = env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

async function main(command = "serve", argument = ""): Promise<void> {
  db.exec(SCHEMA);
  if (command === "serve") {
    serve(new Webhook(setting("WEBHOOK_SECRET")));
  } else if (command === "open") {
    db.prepare("INSERT INTO accounts (account_no, currency) VALUES (?, 'CNY') ON CONFLICT DO NOTHING").run(argument);
  } else if (command === "reconcile") {
    const status = await reconcile(argument);
    console.log(status);
    process.exitCode = FINAL.includes(status) ? 0 : 75; // 75: ask again later
  } else {
    throw new Error("commands: serve, open ACCOUNT_NO, reconcile TX_NO");
  }
}

await main(...process.argv.slice(2));
