# SPDX-License-Identifier: Apache-2.0
"""Build the image of etc/container with Buildah in a chroot and run it: tools/container-check."""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import requests
import yaml

from tests.real.lab import Lab
from tests.real.poppy import free_port, wait
from tests.real.process import descendants

ROOT = pathlib.Path(__file__).parents[1]
CONTAINER = ROOT / "etc" / "container"
BASE = "localhost/poppy-base"
IMAGE = "localhost/poppy"
SUITE = "bookworm"
CERTIFICATES = pathlib.Path("/usr/local/share/ca-certificates")
PROJECT = {"X-Project-ID": "42", "X-Roles": "admin"}


class Builder:
    """Buildah with its own store in plain directories, which needs no kernel features."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._options = [
            *("buildah", "--storage-driver", "vfs"),
            *("--root", str(directory / "images"), "--runroot", str(directory / "run")),
        ]

    def do(self, *arguments: str) -> str:
        """Run Buildah and return its output."""
        line = [*self._options, *arguments]
        return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def line(self, container: str, mounts: Sequence[str], command: Sequence[str]) -> list[str]:
        """Return the command line that runs a command in a container, on the host's network."""
        options = [option for mount in mounts for option in ("--volume", mount)]
        return [
            *self._options,
            "run",
            "--isolation",
            "chroot",
            *options,
            container,
            "--",
            *command,
        ]

    def make_base(self) -> None:
        """Make the base image from Debian's packages, with this machine's trusted certificates."""
        tree = self._directory / "base"
        if not tree.exists():
            say("making the base from Debian's packages")
            made = tree.with_name("base.new")
            shutil.rmtree(made, ignore_errors=True)
            subprocess.run(
                ["debootstrap", "--variant=minbase", SUITE, str(made)],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            made.rename(tree)
        shutil.copytree(CERTIFICATES, f"{tree}{CERTIFICATES}", dirs_exist_ok=True)
        container = self.do("from", "scratch")
        self.do("add", "--quiet", container, str(tree), "/")
        self.do("commit", "--quiet", "--rm", container, BASE)

    def build(self, context: pathlib.Path) -> None:
        """Build the image from the Containerfile."""
        say("building the image")
        self.do(
            *("build", "--isolation", "chroot", "--build-arg", f"BASE={BASE}", "--tag", IMAGE),
            *("--file", str(context / "etc/container/Containerfile"), str(context)),
        )


def main(arguments: list[str] | None = None) -> int:
    """Run all checks; raise an error if one fails."""
    parser = argparse.ArgumentParser(prog="tools/container-check", description=__doc__)
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIR", help="work in DIR and keep it")
    options = parser.parse_args(arguments)
    subprocess.run(
        ["docker-compose", "--file", str(CONTAINER / "compose.yaml"), "config", "--quiet"],
        check=True,
    )
    say("compose.yaml is valid")
    with contextlib.ExitStack() as stack:
        directory = options.keep
        if directory is None:
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=True)
        builder = Builder(directory.resolve())
        builder.make_base()
        builder.build(_context(directory / "context"))
        container = builder.do("from", IMAGE)
        stack.callback(builder.do, "rm", container)
        check_content(builder, container)
        check_alone(builder, container, directory)
        check_composed(builder, container, directory)
    say("the image works")
    return 0


def check_content(builder: Builder, container: str) -> None:
    """Check that the programs run as an unprivileged user, without build tools in the image."""
    for program in ("server", "worker", "standalone", "manage"):
        run(builder, container, [], [f"poppy-{program}", "--version"])
    assert "uid=10001(poppy) gid=10001(poppy)" in run(builder, container, [], ["id"])
    tools = "for tool in pip git gcc make; do ! command -v $tool || exit 1; done"
    run(builder, container, [], ["sh", "-c", tools])
    run(builder, container, [], ["python3", "-c", "import boto3, cassandra, psycopg2, pymysql"])


def check_alone(builder: Builder, container: str, directory: pathlib.Path) -> None:
    """Check ``poppy-standalone``, the image's default command, on SQLite."""
    port = free_port()
    config = directory / "alone.conf"
    config.write_text(f"[drivers:transport:pecan]\nport = {port}\n")
    mounts = [f"{config.resolve()}:/etc/poppy/poppy.conf:ro"]
    run(builder, container, mounts, ["poppy-manage", "db", "sync"])
    with daemon(builder, container, mounts, ["poppy-standalone"]):
        base = f"http://127.0.0.1:{port}/v1.0"
        wait(lambda: answers(f"{base}/health"), 60)
        assert requests.get(f"{base}/health", timeout=5).status_code == 200
        deploy(base)
    say("poppy-standalone works on SQLite")


def check_composed(builder: Builder, container: str, directory: pathlib.Path) -> None:
    """Check the commands, health checks and configuration of compose.yaml on real servers.

    Only the addresses differ, because all servers share one network.
    """
    services = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]
    lab = Lab(directory / "lab")
    values = {name: lab.up(name)["values"] for name in ("cassandra", "zookeeper")}
    ports = {old: str(free_port()) for old in ("8888", "9888", "9889")}
    node = values["cassandra"]
    text = (CONTAINER / "poppy.conf").read_text()
    text = text.replace("cluster = cassandra", f"cluster = {node['host']}\nport = {node['port']}")
    text = text.replace("_host = zookeeper", f"_host = {values['zookeeper']['hosts']}")
    text = text.replace("[drivers:transport:pecan]\n", "[drivers:transport:pecan]\nport = 8888\n")
    for old, new in ports.items():
        text = text.replace(old, new)
    config = directory / "composed.conf"
    config.write_text(text)
    mounts = [f"{config.resolve()}:/etc/poppy/poppy.conf:ro"]

    def healthy(name: str) -> bool:
        _, *test = services[name]["healthcheck"]["test"]
        for old, new in ports.items():
            test = [word.replace(old, new) for word in test]
        line = builder.line(container, mounts, test)
        return subprocess.run(line, stderr=subprocess.DEVNULL, check=False).returncode == 0

    try:
        run(builder, container, mounts, services["sync"]["command"])
        with contextlib.ExitStack() as stack:
            for name in ("server", "worker"):
                assert not healthy(name)
                stack.enter_context(daemon(builder, container, mounts, services[name]["command"]))
            for name in ("server", "worker"):
                wait(lambda name=name: healthy(name), 60)
            deploy(f"http://127.0.0.1:{ports['8888']}/v1.0")
    finally:
        for name in values:
            lab.down(name)
    say("poppy-server and poppy-worker work on Cassandra and ZooKeeper")


def deploy(base: str) -> None:
    """Create a flavor and a service, and wait until it is deployed."""
    links = [{"href": "https://www.example.com", "rel": "provider_url"}]
    flavor = {"id": "standard", "providers": [{"provider": "mock", "links": links}]}
    service = {
        "name": "site",
        "flavor_id": "standard",
        "domains": [{"domain": "www.example.com"}],
        "origins": [{"origin": "origin.example.com"}],
    }
    for path, body in (("flavors", flavor), ("services", service)):
        answer = requests.post(f"{base}/{path}", json=body, headers=PROJECT, timeout=30)
        assert answer.ok, answer.text
    url = answer.headers["Location"]

    def deployed() -> bool:
        return bool(requests.get(url, headers=PROJECT, timeout=30).json()["status"] == "deployed")

    wait(deployed, 60)


def run(builder: Builder, container: str, mounts: Sequence[str], command: Sequence[str]) -> str:
    """Run a command in a container and return its output."""
    line = builder.line(container, mounts, command)
    return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextlib.contextmanager
def daemon(
    builder: Builder, container: str, mounts: Sequence[str], command: Sequence[str]
) -> Iterator[None]:
    """Run a command in a container; SIGTERM, as from an engine, must end it with 0."""
    process = subprocess.Popen(builder.line(container, mounts, command), start_new_session=True)
    try:
        yield
        assert process.poll() is None, f"{command[0]} ended unexpectedly"
        os.kill(_first(process.pid, command[0]), signal.SIGTERM)
        assert process.wait(80) == 0, f"{command[0]} did not exit with 0"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(80)


def _first(pid: int, program: str) -> int:
    """Return the pid of a daemon's master process among the descendants of Buildah."""
    for found in descendants(pid):
        line = pathlib.Path(f"/proc/{found}/cmdline").read_text()
        if line.startswith(f"{program}: master process"):
            return found
    raise AssertionError(f"{program} does not run")


def answers(url: str) -> bool:
    """Whether a server accepts connections at the URL."""
    try:
        requests.get(url, timeout=5)
    except requests.ConnectionError:
        return False
    return True


def _context(path: pathlib.Path) -> pathlib.Path:
    """Copy this checkout's current files to a new repository.

    A linked work tree has no ``.git`` directory of its own, which the build needs.
    """
    shutil.rmtree(path, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    author = ["-c", "user.name=container-check", "-c", "user.email=container-check@example.com"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "context"]):
        subprocess.run(["git", *command], cwd=path, check=True)
    return path


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"== {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
