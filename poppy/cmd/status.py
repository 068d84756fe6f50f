# SPDX-License-Identifier: Apache-2.0
"""poppy-status: checks before an upgrade to this version."""

import pathlib
import sys
from collections.abc import Callable, Sequence

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from poppy import opts
from poppy.bootstrap import Bootstrap
from poppy.common import config, errors
from poppy.manager.removed_providers import check_unused


class Checks(upgradecheck.UpgradeCommands):  # type: ignore[misc]
    """The upgrade checks. They change nothing, and each runs even if others fail."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__()
        self._conf = conf
        self._bootstrap = Bootstrap(conf)

    def check_drivers(self) -> upgradecheck.Result:
        """Check that all drivers load and have valid options."""
        boot = self._bootstrap

        def load() -> None:
            _ = boot.transport
            config.validate(self._conf)
            boot.distributed_task.check()

        return _result(load)

    def check_options(self) -> upgradecheck.Result:
        """Check the files for deprecated and unknown options."""
        try:
            found = _remarks(self._conf)
        except (OSError, cfg.Error) as exc:
            return upgradecheck.Result(upgradecheck.Code.FAILURE, str(exc))
        if not found:
            return upgradecheck.Result(upgradecheck.Code.SUCCESS)
        return upgradecheck.Result(upgradecheck.Code.WARNING, "; ".join(found))

    def check_schema(self) -> upgradecheck.Result:
        """Check that this version can use the schema."""
        return _result(lambda: self._bootstrap.storage.check())

    def check_durability(self) -> upgradecheck.Result:
        """Check that acknowledged writes survive a power loss of any machine."""
        return _remarked(lambda: self._bootstrap.storage.durability())

    def check_board(self) -> upgradecheck.Result:
        """Check that the job board answers."""

        def reach() -> None:
            if not self._bootstrap.distributed_task.is_alive():
                raise errors.Unavailable("The job board does not answer")

        return _result(reach)

    def check_dns(self) -> upgradecheck.Result:
        """Check the settings of the DNS server."""
        return _remarked(lambda: self._bootstrap.dns.remarks())

    def check_providers(self) -> upgradecheck.Result:
        """Check that no service is at a provider that is not loaded."""
        boot = self._bootstrap
        return _result(lambda: check_unused(boot.storage, boot.providers))

    _upgrade_checks = (
        ("Drivers", check_drivers),
        ("Options", check_options),
        ("Schema", check_schema),
        ("Durability", check_durability),
        ("Job board", check_board),
        ("DNS", check_dns),
        ("Providers", check_providers),
    )

    def close(self) -> None:
        """Close the drivers' connections."""
        self._bootstrap.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks: 0 if all pass, 1 with warnings, 2 if the upgrade would fail."""
    conf = config.new()
    checks = Checks(conf)
    try:
        return int(
            upgradecheck.main(conf, "poppy", checks, list(sys.argv[1:] if argv is None else argv))
        )
    except cfg.Error as exc:
        print(f"poppy-status: {exc}", file=sys.stderr)
        return int(upgradecheck.Code.FAILURE)
    finally:
        checks.close()


def _result(check: Callable[[], object]) -> upgradecheck.Result:
    try:
        check()
    except (errors.PoppyError, cfg.Error) as exc:
        return upgradecheck.Result(upgradecheck.Code.FAILURE, str(exc))
    return upgradecheck.Result(upgradecheck.Code.SUCCESS)


def _remarked(check: Callable[[], Sequence[str]]) -> upgradecheck.Result:
    remarks: list[str] = []
    answer = _result(lambda: remarks.extend(check()))
    if not remarks:
        return answer
    return upgradecheck.Result(upgradecheck.Code.WARNING, "; ".join(remarks))


def _remarks(conf: cfg.ConfigOpts) -> list[str]:
    """Return remarks on deprecated and unknown options in the configuration files.

    Options of a driver that is installed but not in use are valid.
    """
    known, deprecated = _installed()
    for group in ("DEFAULT", *conf.keys()):
        options = conf if group == "DEFAULT" else conf[group]
        if group == "DEFAULT" or isinstance(options, cfg.ConfigOpts.GroupAttr):
            known.update((group, name) for name in options)
    remarks = []
    for path in _files(conf):
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(path, sections).parse()
        for group, values in sections.items():
            for option in values:
                name = (group, option.replace("-", "_"))
                if name in deprecated:
                    remarks.append(f"{path}: [{group}] {option} is deprecated{deprecated[name]}")
                elif name not in known:
                    remarks.append(f"{path}: [{group}] {option} is unknown and has no effect")
    return remarks


def _installed() -> tuple[set[tuple[str, str]], dict[tuple[str, str], str]]:
    """Return the options of Poppy and all installed drivers, and hints for deprecated ones."""
    known: set[tuple[str, str]] = set()
    deprecated: dict[tuple[str, str], str] = {}
    for group, options in opts.list_opts():
        for option in options:
            place = group or "DEFAULT"
            known.add((place, option.dest))
            if option.deprecated_for_removal:
                deprecated[place, option.dest] = f": {option.deprecated_reason or 'no use'}"
            for old in option.deprecated_opts:
                name = (old.group or place, (old.name or option.dest).replace("-", "_"))
                deprecated[name] = f"; use [{place}] {option.dest}"
    return known, deprecated


def _files(conf: cfg.ConfigOpts) -> list[str]:
    directories = [pathlib.Path(it) for it in conf.config_dir or ()]
    parts = [str(path) for it in directories for path in sorted(it.glob("*.conf"))]
    return [*(conf.config_file or ()), *parts]
