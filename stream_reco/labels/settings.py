"""Settings of the labels, and what makes them sensible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stream_reco.labels.label.delays import AdaptiveWait
from stream_reco.labels.label.kinds import ActionKinds, KindSettings, check_kinds

DAY_MS = 86_400_000
_LONGEST_MS = 100 * 365 * DAY_MS


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How impressions and actions become examples."""

    window_days: float = 14.0
    """How long an impression waits for an action before it is a negative."""
    lateness_seconds: float = 60.0
    """How far events may be out of order."""
    policy: Literal["auto", "conclusive", "early", "immediate"] = "auto"
    """When an impression without an action is a negative: once half of the actions of the most frequent kind would have
    come, once its window has passed, once a later response implies it, or after `wait_seconds`. Under `auto` and
    `immediate` only until an action says otherwise."""
    order: Literal["slate", "group", "none"] = "slate"
    """What makes a response label earlier impressions: request_id and position, group_id and time, or nothing. Only
    the policy `early` asks for it."""
    wait_seconds: float = 0.0
    """How long the policy `immediate` waits for an action; the lateness comes on top."""
    negative_rate: float = 1.0
    """The share of negatives among impressions that is learned from; predictions are corrected for it."""
    kinds: Mapping[str, KindSettings] = field(default_factory=dict)
    """What a kind of action says: its sign, weight and window. It goes before `action_weights` and `positive_from`."""
    action_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each kind of action; 0 ignores the kind, one that is not named weighs 1."""
    positive_from: Mapping[str, float] = field(default_factory=dict)
    """Kinds that are positive only from this value on, such as ratings."""
    value_units: Mapping[str, float] = field(default_factory=dict)
    """Kinds whose weight grows with their value, up to ten times, and the value that counts once (`watch=60`)."""

    def __post_init__(self) -> None:
        check_window(self.window_days * DAY_MS, self.lateness_seconds * 1000)
        check_policy(self.policy)
        check_order(self.order if self.order != "none" else None)
        check_presumption(self.wait_seconds * 1000, self.window_days * DAY_MS)
        check_rate(self.negative_rate)
        check_kind_windows(self.kinds, self.window_days * DAY_MS)
        check_kinds(self.action_weights, self.positive_from, self.value_units)

    def of_joiner(self) -> dict[str, Any]:
        """The arguments of a `LabelJoiner` as the loop has it: without features of what it may only take back."""
        return {
            "window_ms": self.window_ms,
            "order": self.inferred_by,
            "lateness_ms": self.lateness_ms,
            "action_weights": self.action_weights,
            "positive_from": self.positive_from,
            "value_units": self.value_units,
            "presume_ms": self.presume_ms,
            "keep_unprompted_features": False,
            "kinds": self.kinds,
            "adaptive": AdaptiveWait() if self.policy == "auto" else None,
        }

    @property
    def action_kinds(self) -> ActionKinds:
        """Sign and weight of each action."""
        return ActionKinds(self.kinds, self.action_weights, self.positive_from, self.value_units)

    @property
    def window_ms(self) -> int:
        return round(self.window_days * DAY_MS)

    @property
    def lateness_ms(self) -> int:
        return round(self.lateness_seconds * 1000)

    @property
    def presume_ms(self) -> int | None:
        """Time (ms) without an action after which every impression is presumed negative; None: there is none such."""
        return round(self.wait_seconds * 1000) if self.policy == "immediate" else None

    @property
    def presumes(self) -> bool:
        """Whether an impression may be presumed negative before its window has passed."""
        return self.policy in ("auto", "immediate")

    @property
    def inferred_by(self) -> Literal["slate", "group"] | None:
        """What makes a response label earlier impressions; None: nothing does."""
        return self.order if self.policy == "early" and self.order != "none" else None


def check_window(window_ms: float, lateness_ms: float) -> None:
    """Raise ValueError unless the window is 1 ms to 100 years and the lateness 0 to 100 years."""
    if not 1 <= window_ms <= _LONGEST_MS:  # NaN fails too
        raise ValueError(f"the label window is {window_ms} ms: it must be 1 ms to 100 years; 14 days is the default")
    check_lateness(lateness_ms)


def check_lateness(lateness_ms: float) -> None:
    """Raise ValueError unless the lateness is 0 to 100 years."""
    if not 0 <= lateness_ms <= _LONGEST_MS:
        raise ValueError(f"the lateness is {lateness_ms} ms: it must be 0 to 100 years; 60 s is the default")


def check_idle(idle_ms: float) -> None:
    """Raise ValueError unless partitions are idle after 0 to 100 years of silence."""
    if not 0 <= idle_ms <= _LONGEST_MS:
        raise ValueError(f"partitions are idle after {idle_ms} ms: it must be 0 to 100 years; 60 s is the default")


def check_presumption(presume_ms: float | None, window_ms: float, *, adaptive: bool = False) -> None:
    """Raise ValueError unless impressions are presumed negative within their window, in one way, or not at all."""
    if presume_ms is not None and adaptive:
        raise ValueError("impressions wait either `presume_ms` or an `adaptive` time: give one of the two")
    if presume_ms is not None and not 0 <= presume_ms <= window_ms:
        raise ValueError(
            f"impressions are presumed negative after {presume_ms} ms: it must be 0 to the window of {window_ms} ms"
        )


def check_policy(policy: str) -> None:
    """Raise ValueError unless the policy is one that is known."""
    if policy not in ("auto", "conclusive", "early", "immediate"):
        raise ValueError(f"the policy of labels is {policy!r}: it must be 'auto', 'conclusive', 'early' or 'immediate'")


def check_rate(negative_rate: float) -> None:
    """Raise ValueError unless some of the negatives are kept."""
    if not 0 < negative_rate <= 1:
        raise ValueError(f"the share of negatives to keep is {negative_rate}: it must be above 0 and at most 1")


def check_order(order: str | None) -> None:
    """Raise ValueError unless the order is one that is known."""
    if order not in ("group", "slate", None):
        raise ValueError(f"the order of labels is {order!r}: it must be 'group', 'slate' or none at all")


def check_kind_windows(kinds: Mapping[str, KindSettings], window_ms: float) -> None:
    """Raise ValueError unless each kind's window is at most that of labels."""
    for kind, settings in kinds.items():
        days = settings.window_days
        if days is not None and days * DAY_MS > window_ms:
            raise ValueError(
                f"the window of {kind!r} is {days} days, and that of labels {window_ms / DAY_MS:g}: impressions are"
                " over by then; raise labels.window_days, or leave the kind's window out"
            )
