"""Options of money: prices, and what models read."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trim_pomdp.cli.output import say, show_table, warn
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.model.prices import Money, Prices, Role, Tariff
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies import PlannedPoint, PolicyArtifact
    from trim_pomdp.runtime.money import RunMoney
    from trim_pomdp.runtime.sources import ModelSource

PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        help="TOML with [weak.price], [strong.price], [prm.price]: input, cached, output per million tokens; a models "
        "file will do.",
    ),
]
PromptTokensOption = Annotated[
    float | None,
    typer.Option("--prompt-tokens", min=0.0, help="Mean tokens of a problem's prompt, template included."),
]
CachedOption = Annotated[
    str | None,
    typer.Option(
        "--cached", help="Share of prompt tokens that prefix caches hold: 0.8, or weak=0.8,strong=0.5 (default: 0)."
    ),
]
ReadingOption = Annotated[
    Path | None,
    typer.Option("--reading", help="Folder of a run that tells prompt lengths and cached shares, in place of both."),
]


def read_tariff(
    prices: Path | None, prompt_tokens: float | None, cached: str | None, reading: Path | None
) -> Tariff | None:
    """Prices and what is read, as the options say; None where no prices are given.

    Raises
    ------
    InputError
        If an option is missing, or wrong.
    """
    if prices is None:
        if prompt_tokens is not None or cached is not None or reading is not None:
            raise InputError("--prompt-tokens, --cached and --reading go with --prices FILE")
        return None
    known = require_prices(prices)
    if reading is not None:
        if prompt_tokens is not None or cached is not None:
            raise InputError("--reading tells prompt lengths and cached shares; leave out --prompt-tokens and --cached")
        return _measured(reading, known)
    if prompt_tokens is None:
        raise InputError("--prices needs --prompt-tokens N (of a problem's prompt), or --reading RUN, which tells it")
    if not math.isfinite(prompt_tokens):
        raise InputError(f"--prompt-tokens is {prompt_tokens}; expected a number of tokens")
    from trim_pomdp.model.prices import Tariff

    return Tariff.of(known, prompt_tokens, _shares(cached))


def require_prices(path: Path) -> Prices:
    """Prices of a file that must have some.

    Raises
    ------
    InputError
        If it has none, or they are wrong.
    """
    from trim_pomdp.model.prices import read_prices

    known = read_prices(path)
    if known is None:
        raise InputError(f"{path}: no prices; give tables [weak.price], [strong.price], [prm.price] with input, output")
    return known


def priced(model: RoutingModel, tariff: Tariff | None) -> RoutingModel:
    """The same model, which knows what things cost."""
    from dataclasses import replace

    return model if tariff is None else replace(model, tariff=tariff)


def _measured(folder: Path, prices: Prices) -> Tariff:
    from trim_pomdp.runtime.money import run_money
    from trim_pomdp.runtime.traces import require_run_folder

    measured = run_money(require_run_folder(folder), prices)
    tariff = None if measured is None else measured.tariff
    if tariff is None:
        raise InputError(f"--reading {folder}: nobody counted what its models read; give --prompt-tokens N")
    return tariff


def _shares(text: str | None) -> dict[str, float] | float:
    """Cached shares: one for all models, or by model."""
    if text is None:
        return 0.0
    from trim_pomdp.model.prices import ROLES

    wrong = InputError(f"--cached is {text!r}; expected a share from 0 to 1, or shares by model: weak=0.8,strong=0.5")
    shares: dict[str, float] = {}
    for item in text.split(","):
        found = re.fullmatch(r"\s*(?:(\w+)\s*=\s*)?([0-9.]+)\s*", item)
        try:
            share = float(found[2]) if found else math.nan
        except ValueError:
            share = math.nan
        if found is None or not 0.0 <= share <= 1.0 or (found[1] or "weak") not in ROLES:
            raise wrong
        if found[1] is None:
            if "," in text:
                raise wrong
            return share
        shares[found[1]] = share
    return shares


def show_money(title: str, columns: Mapping[str, Money | None], currency: str | None) -> None:
    """Table of money per problem by model and purpose; columns without any money are left out."""
    from trim_pomdp.model.prices import Money

    shown = {name: money for name, money in columns.items() if money is not None}
    told = Money.told(shown.values())
    rows = [[f"{role}: {purpose}", *map(amount, amounts)] for role, purpose, amounts in told]
    rows.append(["all", *(amount(money.total) for money in shown.values())])
    unit = "" if currency is None else f" ({currency})"
    show_table(f"{title}{unit}", ["per problem", *shown], rows)


def amount(money: float | None) -> str:
    """Money, however small; nothing where it is not known."""
    return "" if money is None else f"{money:.4g}"


def read_run_prices(prices: Path | None, source: ModelSource, roles: Collection[Role]) -> Prices | None:
    """Prices of a run: of the file that is named, else of its models file; None where there are none.

    Raises
    ------
    InputError
        If they are wrong, or a model that the run can ask has none in the file that is named.
    """
    from trim_pomdp.runtime.sources import FileSource

    if prices is not None:
        known = require_prices(prices)
        known.require(roles)
        return known
    if not isinstance(source, FileSource) or source.file.prices is None:
        return None
    return _if_whole(source.file.prices, source.path, roles)


def read_stored_prices(folder: Path, roles: Collection[Role]) -> Prices | None:
    """Prices that a run keeps; None where there are none, or not of all models that were asked, which is said."""
    from trim_pomdp.runtime.money import PRICES_FILE, read_stored

    path = folder / PRICES_FILE
    return _if_whole(read_stored(path), path, roles) if path.exists() else None


def _if_whole(prices: Prices, path: Path, roles: Collection[Role]) -> Prices | None:
    if absent := prices.absent(roles):
        tables = ", ".join(f"[{role}.price]" for role in absent)
        warn(f"{path}: no money is told, since there is no {tables}")
        return None
    return prices


@dataclass(frozen=True)
class MoneyOfRun:
    """What a run cost per problem, beside what was planned and what each model alone would cost, where that is known.

    Attributes
    ----------
    measured : RunMoney
    planned, weak_only, strong_only : Money or None
        In the fitted model.
    assumed : str
        Where the prompt lengths and cached shares of what is planned come from.
    """

    measured: RunMoney
    planned: Money | None = None
    weak_only: Money | None = None
    strong_only: Money | None = None
    assumed: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """As JSON values."""
        named = {"planned": self.planned, "weak_only": self.weak_only, "strong_only": self.strong_only}
        return {**self.measured.document, **{key: None if m is None else m.document for key, m in named.items()}}

    def show(self) -> None:
        """Print it."""
        measured = self.measured
        columns = {
            "planned": self.planned,
            "measured": measured.money,
            "weak-only, planned": self.weak_only,
            "strong-only, planned": self.strong_only,
        }
        show_money("money", columns, measured.prices.currency)
        if measured.total_se is not None:
            reading = f"; what is planned reads {self.assumed}" if self.planned is not None else ""
            say(f"standard error of what was measured: {amount(measured.total_se)}{reading}")
        if measured.uncounted:
            say(f"nobody counted what these read, so it is not in the money: {', '.join(measured.uncounted)}")


def money_of_run(
    folder: Path, prices: Prices | None, artifact: PolicyArtifact | None, model: RoutingModel | None
) -> MoneyOfRun | None:
    """Money of a run; None where no prices are known.

    What is planned is that of `trim_pomdp.inspection.planned_money.planned_money`.
    """
    from trim_pomdp.inspection.planned_money import planned_money
    from trim_pomdp.runtime.money import run_money

    measured = run_money(folder, prices)
    return None if measured is None else MoneyOfRun(measured, **vars(planned_money(artifact, measured, model)))


def say_asked_once(model: RoutingModel, planned: PlannedPoint | None = None) -> None:
    """Say what the ends would cost without any router, and warn where that beats what is planned."""
    from trim_pomdp.planning.evaluation import asked_once
    from trim_pomdp.planning.frontier import end_points

    once = asked_once(model)
    told = {role: amount(value) for role, value in once.items()}
    say(f"asked once a problem, not step by step: weak-only {told['weak']}, strong-only {told['strong']}")
    if planned is None or planned.money is None or once["strong"] > planned.money:
        return
    accuracy = end_points(model)[1].accuracy
    if accuracy >= planned.accuracy:
        warn(
            f"the strong model alone, asked once, is as accurate ({accuracy:.4f}) for no more ({told['strong']}): "
            "at these prices routing pays only where caches hold more of what is read (--cached)"
        )
