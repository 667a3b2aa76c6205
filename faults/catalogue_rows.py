"""Every row of the fault catalogue and every oracle, as data, those that nothing injects or judges yet included.

What is not available says what it comes with, so that no report can pass over it in silence. `slug` is a row's own
name; `by` is the kind that carries it out when that kind is named otherwise.
"""

from __future__ import annotations

from msgspec import Struct

AVAILABLE = "available"


class Row(Struct, frozen=True):
    """One row: id, class (transparent, visible, refused, failstop, workload, measured), layer, what it is, oracles."""

    id: str
    class_: str
    layer: str
    slug: str
    by: str
    must_hold: tuple[str, ...]
    state: str
    title: str


class OracleRow(Struct, frozen=True):
    """One oracle: id, name, whether it can judge, and what it states."""

    id: str
    name: str
    state: str
    statement: str


# id | class | layer | slug | by | must hold | state | title
_ROWS = """
F01 | transparent | scheduler | orchestrator.kill | - | I8 I20 I28 I19 | available | the orchestrator dies at a port \
call of any phase
F02 | transparent | scheduler | orchestrator.stall | - | I4 I12 | available | the orchestrator stalls between a \
decision and its record
F03 | transparent | scheduler | scheduler.permute | - | I1 I3 | available | the ready set is met in another order
F04 | transparent | scheduler | tick.repeat | - | I13 I33 | available | the driver's call for a tick is repeated or \
skipped
F05 | workload | scheduler | agent.flood | - | I12 I18 | available | one agent makes ten thousand ready tasks
F06 | workload | scheduler | dag.edit | - | I22 I30 | available | late, failing, cyclic or huge nodes in a task \
graph
F07 | transparent | scheduler | fault.pair | repair.kill | I19 I30 | available | a second fault while the first is \
being repaired
F08 | transparent | worker | worker.kill | - | I8 I14 I15 I21 | available | a worker dies idle, in mid-call, in \
mid-copy or after its step
F09 | transparent | worker | worker.stall | - | I14 I19 | available | a worker is stopped past its lease and goes on \
later
F10 | transparent | worker | worker.oom | - | I19 I32 | available | a worker is ended for lack of memory
F11 | transparent | worker | worker.exhaust | - | I30 I21 | comes with the live workers, processes with limits of \
their own; in simulation it is worker.spawn_fail | no file descriptors, processes or threads are left
F12 | transparent | worker | worker.crash_loop | - | I31 | available | a worker dies in each of its first calls \
after a restart
F13 | transparent | worker | worker.zombie | - | I14 | available | a stopped worker wakes after its replacement \
started, and writes
F14 | transparent | worker | worker.spawn_fail | - | I31 I19 | available | starting a worker fails a few times
F15 | measured | worker | worker.miscompute | worker.wrong | I1 | available | one worker computes wrong, rarely and \
silently
F16 | visible | wasm | agent.trap | - | I32 I8 | available | a step traps
F17 | visible | wasm | agent.fuel_out | - | I18 I1 | available | a step runs out of fuel
F18 | transparent | wasm | wasm.interrupt | - | I33 I19 | comes with the live watchdog: in simulation nothing raises \
an epoch, fuel ends a step | a step is interrupted by the epoch
F19 | visible | wasm | wasm.grow_refused | - | I18 | available | growing a memory is refused at the limit
F20 | refused | wasm | module.malformed | - | I25 I30 I32 | available | a module that is malformed or invalid
F21 | refused | wasm | module.unlinkable | - | I21 I30 | available | a module that does not link, or traps at start
F22 | refused | wasm | module.flip | - | I25 | available | one bit of a good module is flipped before it is loaded
F23 | visible | wasm | agent.bad_pointer | - | I17 I32 | available | a host call with a bad pointer, length or \
handle
F24 | visible | wasm | wasm.nan | - | I1 I5 I32 | available | NaN payloads and float order
F25 | refused | wasm | module.bomb | - | I18 | available | a module that is made to be slow to compile
F26 | transparent | shared memory | buffer.torn_read | - | I15 | available | a reader comes between two halves of a \
write
F27 | transparent | shared memory | buffer.torn_write | worker.kill | I15 I19 | available | the writer of a shared \
buffer dies in the middle
F28 | transparent | shared memory | buffer.flip | - | I15 | available | bits of a published buffer change
F29 | transparent | shared memory | lock.abandon | - | I14 I19 | available | the holder of a lock or lease dies with \
it
F30 | transparent | shared memory | segment.truncate | - | I32 I19 | comes with the live memory: a simulated segment \
has no mapping | a segment is truncated under its mapping
F31 | transparent | shared memory | segment.full | - | I30 | comes with the live memory: a simulated one has no \
limit | no shared memory is left
F32 | transparent | shared memory | segment.unlink | - | I21 I14 | comes with the live memory: a simulated segment \
has no name | a resource tracker unlinks a live segment
F33 | transparent | shared memory | buffer.stale_handle | - | I14 I16 | available | a handle is used again after its \
generation has gone
F34 | transparent | shared memory | buffer.second_writer | - | I14 | available | a second writer with a forged lease
F35 | transparent | messaging | frame.lose | - | I8 I34 | available | a frame is lost
F36 | transparent | messaging | frame.duplicate | - | I8 I9 | available | a frame arrives twice
F37 | transparent | messaging | frame.reorder | - | I9 I10 | available | frames overtake each other
F38 | transparent | messaging | frame.delay | - | I4 I12 | available | a frame is late
F39 | transparent | messaging | link.clog | - | I19 | available | links are stopped one by one and released in \
another order
F40 | transparent | messaging | link.partition | - | I8 I19 | available | links are cut, in one direction or both
F41 | transparent | messaging | frame.corrupt | - | I11 I30 | available | a frame with other bytes, short, or with a \
wrong length
F42 | transparent | messaging | pipe.errno | - | I11 I34 | available | EPIPE or a short write on a pipe; EINTR and \
EAGAIN lie below the port and come with the live workers
F43 | transparent | messaging | broker.slow_consumer | client.stall | I18 I34 | available | the broker dies, or who \
reads from it stops
F44 | transparent | inference/GPU | gpu.absent | - | I24 | available | there is no accelerator at the start
F45 | transparent | inference/GPU | gpu.oom | - | I24 I23 | available | an accelerator has no memory left
F46 | transparent | inference/GPU | gpu.sticky | gpu.remove | I24 I19 | available | an accelerator error that stays \
until its process is new
F47 | transparent | inference/GPU | gpu.ecc | gpu.remove | I24 | available | an uncorrectable memory error of an \
accelerator
F48 | transparent | inference/GPU | gpu.remove | - | I24 I19 | available | an accelerator falls off the bus, or its \
firmware hangs
F49 | transparent | inference/GPU | gpu.hang | gpu.remove | I19 | available | an inference never returns
F50 | measured | inference/GPU | gpu.miscompute | gpu.wrong | I24 | available | an accelerator computes wrong, \
silently
F51 | transparent | inference/GPU | gpu.throttle | gpu.slow | I4 I12 | available | an accelerator is two to ten \
times slower
F52 | transparent | inference/GPU | gpu.flap | gpu.remove | I24 I31 | available | an accelerator goes and comes back \
again and again
F53 | transparent | inference/GPU | model.bad_output | - | I30 I24 | available | NaN, infinity, denormals, or \
another shape or type
F54 | transparent | models/cache | model.flip | - | I25 | available | one bit of a model file is flipped
F55 | transparent | models/cache | model.swap | - | I25 I30 | available | a model file is cut, empty, another one, \
or stale
F56 | refused | models/cache | model.external | - | I25 I17 | comes with models from outside; weights in other files \
are refused at each load, which I25 tries | external data outside the model's folder, short, or a device
F57 | refused | models/cache | model.bomb | - | I18 I19 | comes with models from outside; what allocates or loops is \
refused at each load, by its operators | a model that allocates, or loops, without end
F58 | transparent | models/cache | model.evict | - | I23 I21 | available | a model in use is evicted; many reload at \
once
F59 | refused | models/cache | model.race | - | I25 | comes with models from outside; bytes are read once, and I25 \
tries ones that change between two reads | a file changes between its check and its load
F60 | transparent | log/snapshot | disk.lose | - | I28 I27 | available | what was not synced at a crash is lost, or \
torn
F61 | transparent | log/snapshot | disk.reorder | disk.tear | I28 I20 | available | unsynced writes and names reach \
the disk in another order
F62 | failstop | log/snapshot | disk.read_error | - | I27 I30 | available | a sector cannot be read
F63 | failstop | log/snapshot | disk.misdirect | - | I27 | available | a write or read goes to another place, or \
nowhere
F64 | failstop | log/snapshot | disk.rot | - | I27 | available | runs of bits on the disk change
F65 | failstop | log/snapshot | disk.rollback | - | I27 | available | part of a file is as it was before
F66 | transparent | log/snapshot | disk.sync_error | - | I29 | available | a sync fails once, then succeeds
F67 | transparent | log/snapshot | disk.full | - | I28 I30 I38 | available | no space is left, or a write is short
F68 | transparent | log/snapshot | disk.slow | - | I4 I19 | available | the disk is slow
F69 | failstop | log/snapshot | journal.forge | - | I27 | available | journal records spliced, cut, swapped, doubled \
or chained anew
F70 | transparent | log/snapshot | snapshot.damage | - | I20 | available | a snapshot that is damaged, from the \
future, or of an older ABI
F71 | transparent | clock | clock.jump | - | I33 | available | the physical clock jumps
F72 | transparent | clock | clock.strobe | - | I33 | available | the physical clock goes back and forth
F73 | transparent | clock | clock.drift | - | I33 I19 | available | the physical clock freezes, drifts, or meets \
2038
F74 | refused | plugins | module.signature | - | I26 I25 | available | signatures that are missing, altered, cut, \
padded, or by another key
F75 | refused | plugins | module.abi | - | I35 | available | another ABI version, or other exports than it asks for
F76 | refused | plugins | key.trust | - | I26 | available | keys revoked, expired, unknown, weak, or rotated in \
mid-run
F77 | visible | plugins | agent.reload | - | I36 I20 | available | a reload in mid-call, a crash in a migration, a \
downgrade
F78 | transparent | observer | observer.stall | - | I6 I18 | comes with the observer, a server; processes that \
follow the files are compared by `verify` | observers that are slow, stalled, many, or gone
F79 | refused | observer | observer.request | - | I37 | comes with the observer, a server | requests that an \
observer must refuse
F80 | workload | observer | observer.hostile_text | - | I37 | available | names made to break a page, a terminal or \
a log
F81 | transparent | resources | host.pressure | - | I18 I32 | comes with the live driver, under limits of the host; \
in simulation they are worker.oom and disk.full | no memory, processor, inodes or processes are left on the host
F82 | transparent | resources | harness.kill | - | I38 | comes with campaigns that are resumed; killed and damaged \
so far: the files of `explore` and `enumerate`, in tests | the harness itself dies, or its files are damaged
F83 | transparent | models/cache | model.load_fail | - | I19 I24 | available | loading a model fails once, or for a \
while
F84 | transparent | worker | pool.resize | - | I3 I14 I21 | available | the pool is resized in mid-run, also to one, \
and after a recovery
F85 | transparent | worker | step.cancel | - | I31 I32 I34 | available | an operator ends a step while it runs
"""

# id | name | state | statement
_ORACLES = """
I1 | replay digest | available | Two runs of one (seed, plan, build) give the same log digest
I2 | hash-seed | available | digest equal for PYTHONHASHSEED in \
{0,1,random}
I3 | worker count | available | digest equal for workers in {1,2,4,nproc}
I4 | host speed | available | digest equal under taskset 1 core, nice \
19, injected 0-50 ms stalls
I5 | device | available | ordering digest equal GPU/CPU/fallback mid-run; tensor payloads \
compared apart (I24)
I6 | observer | available | digest equal with 0, 1, 50 observers attached, slow or dying
I7 | fault-plan purity | available | a plan that injects nothing leaves the digest \
unchanged; the injector draws from its own PRNG stream
I8 | exactly-once | available | each effect id applied exactly once over any number of crashes and redeliveries
I9 | per-sender FIFO | available | for each (sender,receiver,topic) delivered seq strictly increasing, no gap \
without a logged drop
I10 | causal order | available | vector-clock happens-before is respected by \
delivery order
I11 | no invention | available | every delivered message was sent, bytes equal
I12 | bounded wait | available | every ready agent runs within wait_bound ticks (agents \
x max priority ratio)
I13 | barrier | available | no event of tick t+1 precedes the close of tick t
I14 | single writer | available | per buffer epoch at most one live writer lease; stale-epoch writes are refused
I15 | no torn read | available | every read equals one whole published version (seqlock even + checksum)
I16 | reader monotonic | available | a reader never sees an older version after a newer \
one
I17 | capability | available | effects of an agent are a subset of its grant; grants only \
shrink; nothing after revoke
I18 | quota | available | memory, fuel, msgs/tick, log bytes, handles never exceed the grant at any sampled \
point
I19 | recovery liveness | available | after the last fault heals, no tick stays open longer than B virtual ns, B \
computed from leases, respawn and replay length
I20 | snapshot+replay | available | state(snapshot@k + replay k..n) == state(straight run @n), for every k
I21 | no leak | available | at quiescence buffers, sessions, fds, /dev/shm names, children == \
baseline
I22 | DAG order | available | no node starts before all parents ended ok; failed parent -> \
descendants skipped exactly once
I23 | LRU | available | cache bytes <= budget always; victim is least recent unpinned; pinned never \
evicted; reload digest equal
I24 | fallback equivalence | available | CPU result after fallback within declared rtol/atol of \
CPU-only run; never a mix of devices inside one output; switch logged
I25 | integrity before use | available | no model/plugin byte reaches ORT/wasmtime unless its \
digest/signature verified on the same bytes (no TOCTOU)
I26 | signature | available | accept set == strict verifier's accept set on the vectors
I27 | chain | available | h[i]=H(h[i-1]||rec[i]); any flip, cut, swap, splice is found, with first bad index
I28 | prefix durability | available | after a crash the log is a prefix of what was sent and contains all \
acknowledged records
I29 | no false ack | available | an fsync error is never followed by an ack for that \
range; process stops or moves to a new file
I30 | fail-stop | available | on unrecoverable corruption: named error, non-zero exit, no \
partial output
I31 | restart budget | available | <= R restarts in W ticks then escalate; no restart \
storm; backoff in ticks not seconds
I32 | isolation | available | a fault in agent A changes no byte of B's state unless B depends on A
I33 | time | available | no wall-clock value reaches the log; monotone tick
I34 | conservation | available | sent = delivered + dropped(logged) + in flight, per topic, each tick
I35 | ABI | available | plugin with other ABI version/hash never runs; refusal logged once
I36 | hot reload atomicity | available | each call is served wholly by the old or the new version; \
rollback restores digest
I37 | observer read-only | comes with the observer | no request by any method changes state, file or digest
I38 | harness ledger | comes with campaigns | each started trial ends as pass/fail/lost in the ledger; kill -9 at \
any byte loses at most the unacknowledged trial
I39 | detector power | comes with campaigns | each planted mutant is caught by its named oracle in <= B trials; the \
clean build gives 0 alarms in 10^4 trials
I40 | minimal repro | comes with campaigns | shrunk plan fails with the same oracle 10/10
"""


def _row(line: str) -> Row:
    name, class_, layer, slug, by, must_hold, state, title = line.split(" | ", 7)
    return Row(name, class_, layer, slug, by if by != "-" else "", tuple(must_hold.split()), state, title)


def _oracle(line: str) -> OracleRow:
    name, title, state, statement = line.split(" | ", 3)
    return OracleRow(name, title, state, statement)


ROWS: tuple[Row, ...] = tuple(_row(line) for line in _ROWS.strip().splitlines())
ORACLES: tuple[OracleRow, ...] = tuple(_oracle(line) for line in _ORACLES.strip().splitlines())
