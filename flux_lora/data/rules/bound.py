"""Captions that name what the trigger should carry: a character's eyes, a product's material, the look of a style."""

import re
from collections.abc import Iterator, Sequence

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.words import SubjectWords, caption_name, contains_word, subjects
from flux_lora.data.samples import Sample

NAMES_WHAT_IS_LEARNED = Rule(
    "names-what-is-learned",
    Severity.warning,
    "What a caption names (brown eyes, a glass bottle) is learned as those words, and not as part of the trigger.",
)
RULES: tuple[Rule, ...] = (NAMES_WHAT_IS_LEARNED,)

COLOURS = (
    r"(?:black|white|gr[ea]y|silver|brown|chestnut|auburn|red|ginger|orange|blond|blonde|golden|yellow|green|hazel|"
    r"amber|blue|turquoise|purple|violet|pink|dark|light|pale)"
)
CUTS = r"(?:long|short|shoulder-length|curly|wavy|straight|frizzy|spiky|thick|braided|dyed)"
SHAPES = (
    r"(?:round|rounded|oval|spherical|cylindrical|conical|cubic|cube-shaped|square|rectangular|triangular|hexagonal|"
    r"octagonal|flat|curved|slim|squat|tapered|bulbous|faceted|\w+-shaped)"
)
MATERIALS = (
    r"(?:glass|crystal|plastic|acrylic|metal|metallic|steel|stainless|aluminium|aluminum|brass|copper|bronze|tin|iron|"
    r"ceramic|porcelain|clay|terracotta|stoneware|enamel|wooden|wood|bamboo|leather|suede|canvas|cotton|linen|wool|"
    r"woollen|felt|velvet|rubber|silicone|cardboard|paper|stone|marble|concrete|wicker|rattan|plush)"
)
LOOKS = (
    r"(?:in the style of|in an? [\w-]+(?: [\w-]+)? style|\w+-style|art ?style|watercolou?r|oil painting|gouache|"
    r"pencil (?:drawing|sketch)|charcoal drawing|ink drawing|line art|lineart|pixel art|flat design|cel[- ]shaded|"
    r"impressionis[tm]\w*|expressionis[tm]\w*|cubis[tm]\w*|anime|cartoon\w*|comic|3d render\w*|low[- ]poly|claymation|"
    r"vintage look|retro look|film grain)"
)


def judge_subject_traits(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Captions that say the trigger and, beside it, what it is there for. One finding a sample."""
    names = _pattern(words)
    if not names or not words.trigger:
        return
    for sample in subjects(samples):
        found = (
            names.search(caption) for caption in sample.captions if contains_word(words.trigger, caption, any_case=True)
        )
        seen = next((match.group() for match in found if match), "")
        if seen:
            yield NAMES_WHAT_IS_LEARNED.at(
                sample.image,
                f"has {seen!r} in its caption, which {words.trigger!r} should carry",
                f"leave it out of {caption_name(sample)}, unless it is another in each picture",
            )


def _pattern(words: SubjectWords) -> re.Pattern[str] | None:
    match words.kind:
        case "character":
            return re.compile(_character(), re.IGNORECASE)
        case "product":
            return re.compile(_product(words), re.IGNORECASE)
        case "style":
            return re.compile(rf"\b{LOOKS}\b", re.IGNORECASE)
    return None


def _character() -> str:
    hair = rf"(?:(?:{COLOURS}|{CUTS}),? ){{1,4}}(?:and (?:{COLOURS}|{CUTS}) )?hair\b|{COLOURS}-haired\b"
    eyes = rf"(?:{COLOURS} ){{1,3}}eyes\b|{COLOURS}-eyed\b"
    skin = rf"(?:{COLOURS}|olive|fair|tanned|freckled) skin\b|\w+-skinned\b"
    face = (
        r"(?:full |long |short )?beard(?:ed)?\b|goatee\b|"
        r"m(?:o)?ustaches?\b|stubble\b|freckle[sd]?\b|dimples?\b|cheekbones?\b|jaw ?line\b|"
        r"eyebrows?\b|eyelashes\b|wrinkles\b|birthmark\b|scars?\b|bald\b|blondes?\b|brunettes?\b|redhead(?:ed)?\b|"
        r"(?:round|oval|square|heart-shaped|narrow|chubby|angular) face\b|(?:full|thin) lips\b|"
        r"(?:\w+ )?(?:pointed|button|crooked|hooked|aquiline) nose\b"
    )
    return rf"\b(?:{hair}|{eyes}|{skin}|{face})"


def _product(words: SubjectWords) -> str:
    names = [re.escape(each) for each in (words.trigger, words.class_word) if each]
    thing = rf"(?:{'|'.join(names)})"
    made = rf"{thing},? (?:(?:which|that) )?(?:is )?(?:made )?(?:out )?(?:of|from) (?:\w+ )?{MATERIALS}\b"
    shaped = rf"{thing} (?:which |that )?is (?:\w+ )?(?:{SHAPES}|{MATERIALS})\b"
    before = rf"(?:{SHAPES}|{MATERIALS})(?: [\w-]+)? {thing}(?!\w)"
    label = (
        r"(?:label|logo|text|words?|letters?|lettering|inscription|slogan|print) (?:that |which )?"
        r"(?:says?|saying|reads?|reading)\b|labell?ed [\"“'‘]|logo\b|with the (?:words?|text|slogan|lettering)\b"
    )
    return rf"\b(?:{made}|{shaped}|{before}|{label})"
