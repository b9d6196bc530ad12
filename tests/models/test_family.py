"""Text moves and stacks."""

import torch

from flux_lora.models.family import PromptEmbeds, stack_prompt_embeds


def test_text_moves_to_another_dtype_as_a_new_text():
    text = PromptEmbeds(t5=torch.zeros(1, 2, 3), pooled=torch.zeros(1, 4))
    moved = text.to("cpu", torch.bfloat16)
    assert moved.t5.dtype == moved.pooled.dtype == torch.bfloat16
    assert text.t5.dtype == torch.float32


def test_stacked_texts_keep_their_order():
    texts = [PromptEmbeds(t5=torch.full((1, 2, 3), value), pooled=torch.full((1, 4), value)) for value in (1.0, 2.0)]
    batch = stack_prompt_embeds(texts)
    assert batch.t5[:, 0, 0].tolist() == batch.pooled[:, 0].tolist() == [1.0, 2.0]
