#!/usr/bin/env bash
# A Faust app whose boot strategy has Kafka switched off (`enable_kafka = False`) still makes its consumer when it starts,
# to hang the topics below it in the graph of services. The consumer of the aiokafka driver owns a thread, and the thread
# gets an event loop when it is made, not when it is started. The thread is never started, so nobody closes the loop.
#
# The loop is closed when it is collected. Where the collector happens to finalise its sockets first, that fails, and a
# program that has ended in order writes a traceback ("Invalid file descriptor: -1") at its very end. An app that does not
# call the inherited `on_start` makes no consumer, and leaves nothing open.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q faust-streaming==0.15.3 mode-streaming==0.7.1 aiokafka==0.14.0
cd "$folder"

cat >app.py <<'EOF'
import asyncio, gc, sys
import faust
from faust.app.base import BootStrategy

class Alone(BootStrategy):
    enable_kafka = False
    enable_web = False

class Plain(faust.App):
    BootStrategy = Alone

class WithoutConsumer(Plain):
    async def on_start(self):
        self.finalize()

made = []
policy = asyncio.get_event_loop_policy()
new_event_loop = policy.new_event_loop
policy.new_event_loop = lambda: made.append(1) or new_event_loop()

async def start_and_stop(kind):
    app = kind("alone", broker="kafka://127.0.0.1:1", web_enabled=False, autodiscover=False)
    await app.start()
    await app.stop()

kind = {"plain": Plain, "without-consumer": WithoutConsumer}[sys.argv[1]]
asyncio.run(start_and_stop(kind))
gc.collect()
print(f"{sys.argv[1]}: {len(made)} event loops made by asyncio.run and the app")
EOF

"$folder/venv/bin/pip" list 2>/dev/null | grep -E "^(faust-streaming|mode-streaming|aiokafka) "
for kind in plain without-consumer; do
    "$folder/venv/bin/python" -W always::ResourceWarning app.py "$kind" 2>"$kind.err" | tee "$kind.out"
    grep -o "ResourceWarning: unclosed event loop" "$kind.err" || echo "no event loop is left open"
done

grep -q "plain: 2 event loops" plain.out
grep -q "unclosed event loop" plain.err
grep -q "without-consumer: 1 event loops" without-consumer.out
! grep -q "unclosed event loop" without-consumer.err
echo "as described"
