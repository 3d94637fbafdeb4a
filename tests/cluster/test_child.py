"""Child processes: how they are started, what is kept of them, and how they end."""

import os
import signal
import subprocess
import sys
from functools import partial

import psutil
import pytest

from cluster import child as child_module
from cluster.child import Child, Command, describe_exit, log_path
from tests.cluster.conftest import wait_for
from tests.servers import is_gone


def python(folder, code, **options):
    return Command([sys.executable, "-S", "-c", code], dict(os.environ), folder, **options)


@pytest.fixture
def start(folder):
    made = []

    def start_child(code, name="engine:BTC-USD", **options):
        made.append(Child(name, python(folder, code, **options), folder))
        return made[-1]

    yield start_child
    for one in made:
        if one.poll() is None:
            one.kill()
            wait_for(partial(has_ended, one), 15, "ended")


def has_ended(one):
    return one.poll() is not None


def test_the_last_line_of_an_ended_child_is_its_reason(start, folder):
    """What a worker writes last on stderr tells why it ended; lines of earlier runs do not."""
    log_path(folder, "engine:BTC-USD").write_text("an older run said this\n")
    quiet = start("pass")
    wait_for(partial(has_ended, quiet), 15, "ended")
    assert quiet.last_words() == ""
    loud = start("import sys; print('first'); sys.exit('the log has a hole')")
    wait_for(partial(has_ended, loud), 15, "ended")
    assert describe_exit(loud.poll(), loud.last_words()) == "the log has a hole"


@pytest.mark.parametrize(
    ("code", "words", "text"),
    [
        (-9, "", "killed by SIGKILL"),
        (-15, "bye", "killed by SIGTERM"),
        (0, "", "ended by itself"),
        (3, "no funds", "no funds"),
        (1, "", "exit code 1"),
    ],
)
def test_exits_are_described_for_people(code, words, text):
    """Every exit has a short text: a signal's name, the last words, or the code."""
    assert describe_exit(code, words) == text


def test_ctrl_c_does_not_reach_a_child(start):
    """A child lives in a session of its own: the terminal's signals go to the supervisor alone."""
    one = start("import time; time.sleep(60)")
    assert os.getsid(one.pid) == one.pid != os.getsid(0)


def test_a_child_is_ended_with_all_it_has_started(start):
    """kill() ends grandchildren, too."""
    one = start("import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])")
    grandchild = wait_for(lambda: psutil.Process(one.pid).children(), 15, "grandchild")[0]
    one.kill()
    wait_for(partial(has_ended, one), 15, "ended")
    wait_for(lambda: is_gone(grandchild.pid), 15, "grandchild ended")


def test_a_stop_is_the_signal_that_the_command_names(start):
    """PostgreSQL is asked with SIGINT, all others with SIGTERM."""
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
print("up", flush=True)
time.sleep(60)
"""
    one = start(code, stop_signal=signal.SIGINT)
    wait_for(one.last_words, 15, "up")
    one.stop()
    wait_for(partial(has_ended, one), 15, "ended")
    assert one.poll() == 7


def test_a_large_log_is_put_aside_at_start(start, folder, monkeypatch):
    """Logs do not grow for ever: at a start a large one becomes the one old log that is kept."""
    monkeypatch.setattr(child_module, "LOG_BYTES_MAX", 10)
    log = log_path(folder, "engine:BTC-USD")
    log.write_text("older than old\n")
    wait_for(partial(has_ended, start("print('old, and long enough')")), 15, "ended")
    wait_for(partial(has_ended, start("print('new')")), 15, "ended")
    assert log.read_text() == "new\n"
    assert log.with_name(f"{log.name}.1").read_text() == "old, and long enough\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_child_dies_with_its_supervisor(folder):
    """Kill -9 of the parent ends the child at once."""
    code = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {os.getcwd()!r})
from cluster.child import Child, Command
one = Child("a", Command([sys.executable, "-S", "-c", "import time; time.sleep(60)"], {{}}, Path({str(folder)!r})),
            Path({str(folder)!r}))
print(one.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(partial(is_gone, pid), 15, "the child ended")
