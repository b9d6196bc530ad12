"""Text moves and stacks."""

import pytest
import torch

from flux_lora.models.family import PromptEmbeds, stack_prompt_embeds


def text_of(value: float) -> PromptEmbeds:
    return PromptEmbeds({"t5": torch.full((1, 2, 3), value), "pooled": torch.full((1, 4), value)})


def test_text_moves_to_another_dtype_as_a_new_text():
    text = PromptEmbeds({"t5": torch.zeros(1, 2, 3), "pooled": torch.zeros(1, 4)})
    moved = text.to("cpu", torch.bfloat16)
    assert moved["t5"].dtype == moved["pooled"].dtype == torch.bfloat16
    assert text["t5"].dtype == torch.float32


def test_stacked_texts_keep_their_order():
    batch = stack_prompt_embeds([text_of(1.0), text_of(2.0)])
    assert batch["t5"][:, 0, 0].tolist() == batch["pooled"][:, 0].tolist() == [1.0, 2.0]


def test_rows_come_in_the_order_asked_for_and_as_often():
    batch = stack_prompt_embeds([text_of(1.0), text_of(2.0)]).rows([1, 1, 0])
    assert len(batch) == 3
    assert batch["t5"][:, 0, 0].tolist() == batch["pooled"][:, 0].tolist() == [2.0, 2.0, 1.0]


def test_positions_beside_the_embeds_stay_whole_numbers():
    text = PromptEmbeds({"layers": torch.zeros(1, 5, 3), "positions": torch.zeros(1, 5, dtype=torch.long)})
    moved = text.to("cpu", torch.bfloat16)
    assert (moved["layers"].dtype, moved["positions"].dtype) == (torch.bfloat16, torch.long)
    assert moved.window == 5


def test_texts_of_two_windows_do_not_share_a_batch():
    longer = PromptEmbeds({"t5": torch.zeros(1, 3, 3), "pooled": torch.zeros(1, 4)})
    with pytest.raises(AssertionError, match=r"windows of \[2, 3\] tokens"):
        stack_prompt_embeds([text_of(1.0), longer])
