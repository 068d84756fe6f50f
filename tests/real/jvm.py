# SPDX-License-Identifier: Apache-2.0
"""The base of the lab's servers that run on Java."""

import abc
import errno
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.real import unavailable
from tests.real.jars import jars, java
from tests.real.process import wait_until_suspended

_STOP_TIMEOUT = 30.0
#: For few cores: no second thread for the garbage collector.
_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)
#: For short lives: no optimizing compiler, which pays off only after some minutes.
_SHORT_LIVED = "-XX:TieredStopAtLevel=1"
_LOGBACK = """<configuration>
  <statusListener class="ch.qos.logback.core.status.NopStatusListener"/>
  <appender name="FILE" class="ch.qos.logback.core.FileAppender">
    <file>{file}</file>
    <encoder><pattern>%-5level %date %logger{{20}} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="FILE"/></root>
</configuration>
"""


class JavaServer(abc.ABC):
    """A server in a temporary directory, on loopback.

    As a context manager, it starts, and at the end stops and removes its directory. In between,
    it can be stopped or killed, and started again with the same data and address.
    """

    title: ClassVar[str]
    """Its name in messages."""
    start_timeout: ClassVar[float] = 60.0
    """Seconds."""

    def __init__(self, *, long_lived: bool = False) -> None:
        """Prepare without starting.

        Args:
            long_lived: optimize the code at run time, as in production. This takes a core or two
                for a minute, and thousands of requests; it is off by default.
        """
        self._long_lived = long_lived
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._remove()

    @property
    def directory(self) -> Path:
        """The directory of all files, including logs; available after the first start."""
        assert self._directory is not None
        return self._directory

    @property
    def pid(self) -> int | None:
        """The process id; None while it is stopped."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the server and wait until it answers. Do nothing if it is running.

        Raises:
            RuntimeError: it did not start; the message has the end of its log.
        """
        if self._process is not None:
            return
        self.launch()
        self.wait_until_up()

    def launch(self) -> None:
        """Start the server without waiting."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix=f"poppy-{self.title.lower()}-"))
            log = self._directory / "system.log"
            (self._directory / "logback.xml").write_text(_LOGBACK.format(file=log))
            self.prepare()
        flags = [*_FLAGS, f"-Dlogback.configurationFile={self._directory / 'logback.xml'}"]
        flags.append(f"-Djava.io.tmpdir={self._directory}")
        if not self._long_lived:
            flags.append(_SHORT_LIVED)
        command = [*_die_together(), java(), *flags, "-cp", f"{jars()}/*", *self.arguments()]
        with (self._directory / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._directory,
                # The test run handles a Ctrl-C at the terminal, and stops the server properly.
                process_group=0,
            )

    def wait_until_up(self) -> None:
        """Wait until the launched server answers."""
        assert self._process is not None
        deadline = time.monotonic() + self.start_timeout
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.title} did not start:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server as its operator would. Do nothing if it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        self.resume()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Kill the server as a power failure would. Do nothing if it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Suspend the server: it keeps and accepts connections, but does not answer."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:
            wait_until_suspended(self._process)

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of the logs."""
        text = ""
        for name in ("output.log", "system.log"):
            path = self.directory / name
            if path.exists():
                text += "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) + "\n"
        return text

    @abc.abstractmethod
    def prepare(self) -> None:
        """Write the configuration into its new directory."""

    @abc.abstractmethod
    def arguments(self) -> Sequence[str]:
        """Return the arguments of Java: flags, main class, and the class's arguments."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """Return whether it serves clients now."""

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _remove(self) -> None:
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def _die_together() -> Sequence[str]:
    """Return a command prefix that ends the command when this process is killed."""
    setpriv = shutil.which("setpriv")
    # The kernel watches the starting thread, and only the main thread lives long enough.
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return ()
    return (setpriv, "--pdeathsig", "KILL")


def spare_address(*ports: int) -> str:
    """Return an address of 127.0.0.0/8 where all of these ports are free.

    With its own address, each server can use its standard ports, which all nodes of a cluster
    must have in common.
    """
    while True:
        address = ".".join(map(str, (127, *(random.randint(2, 250) for _ in range(3)))))
        try:
            for port in ports:
                with socket.socket() as probe:
                    probe.bind((address, port))
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                unavailable(f"{address} can't be used ({exc})", f"ip addr add {address}/8 dev lo")
        else:
            return address


def make_certificates(directory: Path, address: str, password: str) -> None:
    """Make ``ca.pem``, ``server.pem`` and ``server.key``, and from these ``server.p12``.

    The certificate is for an address and valid for a week.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        unavailable("there is no openssl", "apt-get install openssl")
    (directory / "leaf.cnf").write_text(
        f"subjectAltName=IP:{address}\nbasicConstraints=CA:false\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    new_key = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    steps = (
        f"{new_key} -x509 -days 7 -keyout ca.key -out ca.pem -subj /CN=poppy-lab-ca"
        " -addext keyUsage=critical,keyCertSign,cRLSign",
        f"{new_key} -keyout server.key -out server.csr -subj /CN=poppy-lab",
        "x509 -req -days 7 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
        " -extfile leaf.cnf -out server.pem",
        "pkcs12 -export -in server.pem -inkey server.key -certfile ca.pem -name server"
        f" -out server.p12 -passout pass:{password}",
    )
    for step in steps:
        command = [openssl, *step.split()]
        run = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60)
        if run.returncode:
            raise RuntimeError(f"openssl {step}: {run.stderr}")
