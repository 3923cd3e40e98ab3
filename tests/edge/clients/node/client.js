// Does what it reads, see ../README.md.
"use strict";
const grpc = require("@grpc/grpc-js");
const readline = require("node:readline");

const [, , address, token] = process.argv;
const client = new grpc.Client(address, grpc.credentials.createInsecure());
const raw = (message) => message;
let messages = 0;
let end = null;
let wake = () => {};

function metadata() {
  const headers = new grpc.Metadata();
  headers.set("authorization", `Bearer ${token}`);
  return headers;
}

function answer(error) {
  const details = error?.metadata?.get("grpc-status-details-bin")[0];
  console.log(error?.code ?? 0, details?.length ?? 0);
}

async function next() {
  const before = messages;
  while (messages === before && !end) await new Promise((resolve) => (wake = resolve));
  answer(end);
}

function open(path, request) {
  const stream = client.makeServerStreamRequest(path, raw, raw, request, metadata());
  stream.on("data", () => (messages++, wake()));
  stream.on("error", (error) => ((end = error), wake()));
  stream.on("end", () => ((end ??= { code: grpc.status.OUT_OF_RANGE }), wake()));
  return next();
}

function call(path, request) {
  const deadline = Date.now() + 10_000;
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, raw, raw, request, metadata(), { deadline }, (error) => resolve(answer(error)));
  });
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [what, path, request] = line.split(" ");
    const message = Buffer.from(request ?? "", "hex");
    await (what === "stream" ? open(path, message) : what === "receive" ? next() : call(path, message));
  }
  client.close();
  process.exit(0);
})();
