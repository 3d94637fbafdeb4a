"""Orders into a whole cluster, next to bare web applications, and what subscribers get of them.

    python -m benchmarks.gateway [--quick]

(1) HTTP: keep-alive connections POST signed limit orders, each as soon as the one before is answered; an answer means
that the ledger has committed the order. (2) The same requests to bare applications that only do one XADD, in rounds
between. (3) WebSocket order entry: the same orders, some of each socket under way at once. (4) Request to book event:
one request at a time goes into the ledger's inbox and the book's log is watched: five hops on an idle cluster.
(5) Market data: subscribers of ``full`` while orders come in, alone and among 100 who never read.

The load comes from this machine, so its cost is in the rates. What a request costs the serving process itself, in CPU
time, is told beside them: it hardly depends on what else the machine does.
"""
