// coinbase-api: its Exchange REST client, and its WebSocket client on both of Coinbase's feeds.

import assert from "node:assert/strict";
import { CBExchangeClient, WebsocketClient } from "coinbase-api";
import { alice, bob, feed, until, url } from "./people.mjs";

const keyOf = (user) => ({ apiKey: user.key, apiSecret: user.secret, apiPassphrase: user.passphrase });
const PRODUCT = "BTC-USD";
const seller = new CBExchangeClient({ ...keyOf(alice), baseUrl: url });
const buyer = new CBExchangeClient({ ...keyOf(bob), baseUrl: url });
const limit = (side, price, size) => ({ product_id: PRODUCT, side, type: "limit", price, size });

async function market() {
  const nobody = new CBExchangeClient({ baseUrl: url });
  assert.ok((await nobody.getAllTradingPairs()).some((one) => one.id === PRODUCT));
  assert.equal((await nobody.getProduct({ product_id: PRODUCT })).base_currency, "BTC");
  assert.equal((await nobody.getCurrency("BTC")).id, "BTC");
  assert.ok((await nobody.getCurrencies()).length >= 2);
}

async function trading() {
  const sell = await seller.submitOrder(limit("sell", "130.00", "0.4"));
  assert.ok(sell.client_oid.startsWith("cbnode"));
  assert.equal((await seller.getOrder({ order_id: sell.id })).price, "130.00");
  assert.equal((await seller.getOrder({ order_id: `client:${sell.client_oid}` })).id, sell.id);
  assert.deepEqual((await seller.getOrders({ status: ["open", "pending"], product_id: PRODUCT })).map((one) => one.id), [sell.id]);
  const buy = await buyer.submitOrder(limit("buy", "131.00", "0.1"));
  await until(async () => (await buyer.getOrder({ order_id: buy.id })).status === "done", "the order fills");
  const fills = await until(async () => {
    const found = await seller.getFills({ order_id: sell.id });
    return found.length && found;
  }, "the fill is listed");
  assert.deepEqual([fills[0].side, fills[0].price, fills[0].liquidity], ["sell", "130.00", "M"]);
  assert.deepEqual((await buyer.getProductBook({ product_id: PRODUCT, level: 2 })).asks[0], ["130.00", "0.30000000", 1]);
  assert.equal((await buyer.getProductTicker({ product_id: PRODUCT })).ask, "130.00");
  assert.equal((await buyer.getProductStats({ product_id: PRODUCT })).last, "130.00");
  assert.equal((await buyer.getProductTrades({ product_id: PRODUCT, limit: 1 }))[0].price, "130.00");
  await until(async () => (await buyer.getProductCandles({ product_id: PRODUCT, granularity: "60" })).length, "a candle");
  assert.equal(await seller.cancelOrder({ order_id: sell.id }), sell.id);
  await assert.rejects(seller.cancelOrder({ order_id: sell.id }), (error) => error.body.message === "Order already done");
  await assert.rejects(
    seller.submitOrder(limit("buy", "100000.00", "1000")),
    (error) => error.code === 400 && error.body.message === "Insufficient funds",
  );
  await assert.rejects(seller.getOrder({ order_id: sell.id.replace(/^./, "f") }), (error) => error.code === 404);
  const wrong = new CBExchangeClient({ ...keyOf(alice), apiSecret: "AAAA", baseUrl: url });
  await assert.rejects(wrong.getAccounts(), (error) => error.code === 401);
}

async function account() {
  const order = await seller.submitOrder(limit("buy", "11.00", "1"));
  const usd = (await seller.getAccounts()).find((one) => one.currency === "USD");
  assert.equal((await seller.getAccount({ account_id: usd.id })).hold, usd.hold);
  assert.equal((await seller.getAccountHolds({ account_id: usd.id }))[0].ref, order.id);
  assert.ok((await seller.getAccountLedger({ account_id: usd.id, limit: 10 })).length >= 1);
  assert.ok((await seller.getAccountTransfers({ account_id: usd.id })).length >= 1);
  const [transfer] = await seller.getTransfers({ type: "deposit" });
  assert.equal((await seller.getTransfer({ transfer_id: transfer.id })).currency, transfer.currency);
  assert.ok(Number((await seller.getFees()).maker_fee_rate) > 0);
  const [profile] = await seller.getProfiles();
  assert.equal((await seller.getProfileById({ profile_id: profile.id })).user_id, profile.user_id);
  assert.deepEqual(await seller.cancelAllOrders({ product_id: PRODUCT }), [order.id]);
}

/** What a client of one of the feeds hears, until `enough`. */
async function hear(options, key, topics, enough) {
  const quiet = { trace() {}, info() {}, error: console.error };
  const client = new WebsocketClient({ ...options, wsUrl: feed }, quiet);
  const heard = [];
  client.on("update", (message) => heard.push(message));
  client.on("response", (message) => heard.push(message));
  client.on("exception", (problem) => heard.push({ type: "exception", problem }));
  client.subscribe(topics.map((topic) => ({ topic, payload: { product_ids: [PRODUCT] } })), key);
  try {
    await until(() => heard.some((one) => one.type === "subscriptions"), "the subscription is answered");
    await seller.submitOrder(limit("sell", "135.00", "0.1"));
    await buyer.submitOrder(limit("buy", "135.00", "0.1"));
    await until(() => enough(heard), `all of it in ${heard.map((one) => one.type)}`);
  } finally {
    client.closeAll(true);
  }
  assert.deepEqual(heard.filter((one) => one.type === "exception" || one.type === "error"), []);
  return heard;
}

async function listening() {
  const types = ["snapshot", "l2update", "match", "ticker", "heartbeat", "received", "open", "done", "status"];
  const topics = ["full", "level2_batch", "matches", "ticker", "heartbeat", "status"];
  await hear({}, "exchangeMarketData", topics, (heard) => types.every((type) => heard.some((one) => one.type === type)));
  const own = await hear(keyOf(bob), "exchangeDirectMarketData", ["user", "level2"], (heard) =>
    heard.some((one) => one.type === "done"),
  );
  assert.ok("taker_fee_rate" in own.find((one) => one.type === "match"));
}

try {
  await market();
  await trading();
  await account();
  await listening();
} finally {
  await seller.cancelAllOrders();
  await buyer.cancelAllOrders();
}
process.exit(0); // its WebSocket client keeps timers
