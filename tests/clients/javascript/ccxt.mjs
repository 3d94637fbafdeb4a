// ccxt and ccxt.pro for JavaScript: a bot's day, and each error that it must understand.

import assert from "node:assert/strict";
import ccxt from "ccxt";
import { alice, bob, feed, until, url } from "./people.mjs";

const exchangeOf = (user, Exchange) =>
  new Exchange({
    apiKey: user.key,
    secret: user.secret,
    password: user.passphrase,
    urls: { api: { public: url, private: url, ws: feed } },
    enableRateLimit: false,
  });

const seller = exchangeOf(alice, ccxt.coinbaseexchange);
const buyer = exchangeOf(bob, ccxt.pro.coinbaseexchange);

async function life() {
  const markets = await seller.loadMarkets();
  assert.equal(markets["BTC/USD"].precision.price, 0.01);
  assert.ok(Math.abs((await seller.fetchTime()) - Date.now()) < 5000);
  const order = await seller.createOrder("BTC/USD", "limit", "sell", 0.5, 140, { clientOrderId: "js-1" });
  assert.equal(order.status, "open");
  assert.equal((await seller.fetchOrder(order.id)).clientOrderId, "js-1");
  assert.equal((await seller.fetchOpenOrders("BTC/USD"))[0].id, order.id);
  assert.equal((await seller.fetchBalance()).BTC.used, 0.5);
  assert.deepEqual((await seller.fetchOrderBook("BTC/USD")).asks[0].slice(0, 2), [140, 0.5]);
  await buyer.createOrder("BTC/USD", "limit", "buy", 0.2, 140);
  await until(async () => (await seller.fetchOrder(order.id)).filled === 0.2, "the fill shows in the order");
  const trade = await until(async () => (await seller.fetchMyTrades("BTC/USD")).at(-1), "the fill is listed");
  assert.deepEqual([trade.order, trade.price, trade.amount, trade.takerOrMaker], [order.id, 140, 0.2, "maker"]);
  await until(async () => (await seller.fetchTicker("BTC/USD")).last === 140, "the ticker has the trade");
  assert.equal((await seller.fetchTrades("BTC/USD")).at(-1).amount, 0.2);
  await until(async () => (await seller.fetchOHLCV("BTC/USD", "1m")).length, "a candle has the trade");
  await seller.cancelOrder(order.id, "BTC/USD");
  assert.equal((await seller.fetchOrder(order.id)).status, "canceled");
  assert.deepEqual(await seller.fetchOpenOrders(), []);
  assert.ok((await seller.fetchTradingFees())["BTC/USD"].taker > 0);
}

async function errors() {
  const foreign = await buyer.createOrder("BTC/USD", "limit", "buy", 0.1, 10);
  const stranger = exchangeOf({ ...alice, secret: "AAAA" }, ccxt.coinbaseexchange);
  const body = { product_id: "BTC-USD", side: "buy", type: "limit", size: "1", price: "10" };
  for (const [error, call] of [
    [ccxt.InsufficientFunds, () => seller.createOrder("BTC/USD", "limit", "buy", 1000, 1000)],
    [ccxt.OrderNotFound, () => seller.fetchOrder(foreign.id)],
    [ccxt.OrderNotFound, () => seller.cancelOrder(foreign.id)],
    [ccxt.InvalidOrder, () => seller.fetchOrder("nonsense")],
    [ccxt.InvalidOrder, () => seller.privatePostOrders({ ...body, product_id: "XXX-USD" })],
    [ccxt.InvalidOrder, () => seller.privatePostOrders({ ...body, price: "10.001" })],
    [ccxt.InvalidOrder, () => seller.privatePostOrders({ ...body, size: "0" })],
    [ccxt.AuthenticationError, () => stranger.fetchBalance()],
  ]) {
    await assert.rejects(call, (raised) => raised.constructor === error, String(call));
  }
  await buyer.cancelOrder(foreign.id);
}

async function watching() {
  await buyer.loadHttpProxyAgent(); // else ccxt for JavaScript refuses ws://
  const watched = Promise.all([
    buyer.watchOrderBook("BTC/USD"),
    buyer.watchTicker("BTC/USD"),
    buyer.watchTrades("BTC/USD"),
    buyer.watchOrders("BTC/USD"),
    buyer.watchMyTrades("BTC/USD"),
  ]);
  await until(() => buyer.orderbooks["BTC/USD"], "the book's snapshot");
  const rests = await seller.createOrder("BTC/USD", "limit", "sell", 1, 150);
  const order = await buyer.createOrder("BTC/USD", "limit", "buy", 0.25, 150);
  await watched;
  await until(() => buyer.orderbooks["BTC/USD"].asks[0]?.[1] === 0.75, "the book follows");
  await until(() => buyer.tickers["BTC/USD"].last === 150, "the ticker follows");
  await until(() => buyer.orders.hashmap["BTC/USD"]?.[order.id]?.status === "closed", "the order is followed");
  assert.ok(buyer.myTrades.some((trade) => trade.order === order.id && trade.takerOrMaker === "taker"));
  await seller.cancelOrder(rests.id);
}

try {
  await life();
  await errors();
  await watching();
} finally {
  await seller.cancelAllOrders();
  await buyer.cancelAllOrders();
  await buyer.close();
}
