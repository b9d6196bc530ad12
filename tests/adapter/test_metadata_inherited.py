"""A file made of other files says what is still true, and nothing else."""

from flux_lora.adapter.metadata import inherited_metadata, merged_metadata

MUG = {
    "modelspec.title": "mug",
    "modelspec.trigger_phrase": "zorb",
    "modelspec.license": "flux-1-dev-non-commercial-license",
    "modelspec.architecture": "flux-1-dev/lora",
    "modelspec.hash_sha256": "0x1",
    "ss_network_alpha": "8",
    "ss_network_dim": "16",
    "lora_adapter_metadata": '{"transformer.r": 16}',
    "flux_lora.recipe": "{}",
    "flux_lora.non_commercial": "true",
}
CAT = {
    "modelspec.trigger_phrase": "mio",
    "modelspec.license": "apache-2.0",
    "modelspec.architecture": "flux-1-dev/lora",
}


def test_a_converted_file_keeps_its_story_and_not_the_numbers_of_the_other_files_tensors():
    kept = inherited_metadata(MUG)
    assert kept["modelspec.trigger_phrase"] == "zorb" and kept["flux_lora.recipe"] == "{}"
    assert not {"lora_adapter_metadata", "ss_network_alpha", "modelspec.hash_sha256"} & set(kept)


def test_a_merged_file_names_its_parts_every_trigger_and_every_licence():
    said = merged_metadata([MUG, CAT], ["a", "cat"], "both")
    assert said["modelspec.merged_from"] == "mug, cat"
    assert said["modelspec.trigger_phrase"] == "zorb, mio"
    assert said["modelspec.license"] == "flux-1-dev-non-commercial-license, apache-2.0"
    assert said["flux_lora.non_commercial"] == "true"
    assert said["modelspec.architecture"] == "flux-1-dev/lora"
    assert "flux_lora.recipe" not in said


def test_parts_of_different_bases_have_none_in_common():
    other = CAT | {"modelspec.architecture": "flux-1-schnell/lora"}
    assert "modelspec.architecture" not in merged_metadata([MUG, other], ["a", "b"], "both")
