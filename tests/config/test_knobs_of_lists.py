"""Lists of things with keys of their own are known by those things."""

from flux_lora.config.choices import SourceRole
from flux_lora.config.knobs import elements


def test_every_list_of_things_with_keys_is_known_by_its_element():
    known = {name: each.of for name, each in elements().items()}
    assert known.items() >= {"SourceConfig": "data.sources", "RuleOff": "check.off"}.items()
    assert elements()["SourceConfig"].kinds["role"] is SourceRole
