"""What /metrics shows of a gateway process."""

from prometheus_client import Counter, Gauge, Histogram

ANSWERS = Counter("matchbox_gateway_answers", "Answers of the ledgers to this gateway's requests", ["answer"])
ANSWER_SECONDS = Histogram(
    "matchbox_gateway_answer_seconds",
    "From a request's arrival at the inbox to the ledger's answer",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
WAITING = Gauge("matchbox_gateway_waiting", "Requests without an answer yet")
LAG = Gauge("matchbox_gateway_lag", "Log entries that the replicas have not folded yet")
SOCKETS = Gauge("matchbox_gateway_sockets", "Open WebSocket connections")
CUT_OFF = Counter("matchbox_gateway_cut_off", "WebSocket clients that were too slow")
