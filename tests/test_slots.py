"""Who goes first among those that queue for a slot."""

from datetime import UTC, datetime, timedelta

from certs import facts

from tscert_trio.schedule import slot_priority

DAY = timedelta(days=1)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def leaf(life, left):
    return facts(("a.ts.net",), NOW + left - life, life)


def test_slots_go_to_the_dying_then_to_the_least_failed_then_to_the_missing_then_to_the_shortest():
    life = 90 * DAY
    in_order = {
        "last twentieth of its life": (leaf(life, 4 * DAY), 9),
        "no certificate": (None, 0),
        "expired is as none": (leaf(life, -DAY), 0),
        "20 days left": (leaf(life, 20 * DAY), 0),
        "80 days left": (leaf(life, 80 * DAY), 0),
        "failed once, no certificate": (None, 1),
        "failed once, 80 days left": (leaf(life, 80 * DAY), 1),
    }
    by_priority = sorted(in_order, key=lambda name: slot_priority(NOW, *in_order[name]))
    expected = list(in_order)
    expected[1:3] = expected[2:0:-1]  # the one that expired earlier has waited longer
    assert by_priority == expected
