// OpenAI's SDK for Node, pointed at the proxy; prints what came back as one line of JSON.
// The environment gives BASE, KEY, MODEL and TEXTS (a JSON list).
import OpenAI from "openai";

const { BASE, KEY, MODEL, TEXTS } = process.env;
const texts = JSON.parse(TEXTS);
const sent = [];
const client = new OpenAI({
  baseURL: `${BASE}/v1`,
  apiKey: KEY,
  fetch: (url, options) => {
    sent.push(options?.body ?? "");
    return fetch(url, options);
  },
});
const vectors = (reply) => reply.data.map((item) => Array.from(item.embedding));
const told = async (call) => {
  sent.length = 0;
  try {
    await call();
  } catch (error) {
    return { name: error.constructor.name, status: error.status, code: error.code, requests: sent.length };
  }
  return null;
};

const plain = await client.embeddings.create({ model: MODEL, input: texts });
const asked = JSON.parse(sent[0]).encoding_format;
const float = await client.embeddings.create({ model: MODEL, input: texts, encoding_format: "float" });
const short = await client.embeddings.create({ model: MODEL, input: texts, dimensions: 1024 });
const query = await client.embeddings.create({ model: `${MODEL}:query`, input: texts[0] });
const { response } = await client.embeddings.create({ model: MODEL, input: texts[0] }).withResponse();
console.log(JSON.stringify({
  asked,
  plain: vectors(plain),
  float: vectors(float),
  short: vectors(short),
  query: vectors(query),
  model: query.model,
  usage: plain.usage,
  deployment: response.headers.get("x-router-deployment"),
  dimensions: await told(() => client.embeddings.create({ model: MODEL, input: "a", dimensions: 31 })),
  missing: await told(() => client.embeddings.create({ model: "qwen3-embedding-9b", input: "a" })),
  tokens: await told(() => client.embeddings.create({ model: MODEL, input: [[1, 2, 3]] })),
}));
