"""Make the site's mathematics font from STIX Two Math: the characters that formulas use, and sizes that inline formulas can bear.

    python residual_lab/site/theme/make_math_font.py STIXTwoMath-Regular.ttf     # needs fonttools and brotli

The original is that of https://github.com/stipub/stixfonts (version 2.11, which the wheel `ziamath==0.13` brings as
``ziamath/fonts/STIXTwoMath-Regular.ttf``). Its licence, OFL 1.1 without a reserved name, lies beside the result.

Chromium reserves for every stretchy sign of an inline formula the width of its widest variant, which leaves a gap after it.
Therefore the signs keep only the sizes up to ``TALLEST``, and the taller radical is narrowed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.pens.transformPen import TransformPen
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

TARGET = Path(__file__).parent / "static/STIXTwoMath.woff2"
TALLEST = {"√": 1900, "default": 2900}
"""Of a thousandth of the type size: a radical over a squared sign, brackets around a matrix of two rows."""
WIDEST_RADICAL = 860

LETTERS = (
    [chr(code) for code in range(0x20, 0x7F)]
    + list("ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρςστυφχψωϑϕϖϰϱϵ∂∇ℏℓıȷ")
    + [chr(code) for code in range(0x1D434, 0x1D468)]  # italic Latin
    + ["ℎ"]
    + [chr(code) for code in range(0x1D6E2, 0x1D71C)]  # italic Greek
    + [chr(code) for code in range(0x1D400, 0x1D434)]  # bold Latin
    + [chr(code) for code in range(0x1D7CE, 0x1D7D8)]  # bold digits
    + list("ℒℱ𝒩𝒪𝔼ℝℕℤ𝒟")
)
SIGNS = list(" ¬±·×÷¯ˆˇ˘˙˜̂̃̄†‡…′″‖←↑→↓↔↦⇐⇒⇔⟵⟶⟹⟺⟼∀∃∅∈∉∋∏∐∑−∓∗∘√∝∞∠∣∥∧∨∩∪∫∼≃≅≈≔≠≡≤≥≪≫⊂⊃⊆⊇⊕⊖⊗⊙⊤⊥⋅⋮⋯⋱⌈⌉⌊⌋⏞⏟⟨⟩△▷◁★" "\N{VARIATION SELECTOR-1}")


def make(original: Path) -> None:
    font = TTFont(original)
    _keep_sizes(font)
    _narrow_radical(font)
    _lower_primes(font)
    options = Options()
    options.layout_features = ["flac", "dtls"]
    options.hinting = False
    options.flavor = "woff2"
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=map(ord, (*LETTERS, *SIGNS)))
    subsetter.subset(font)
    font.flavor = "woff2"
    font.save(TARGET)


def _upright(font: TTFont) -> dict:
    """The ways in which every sign grows taller, by character."""
    variants = font["MATH"].table.MathVariants
    glyphs = dict(zip(variants.VertGlyphCoverage.glyphs, variants.VertGlyphConstruction))
    return {chr(code): glyphs[glyph] for code, glyph in font.getBestCmap().items() if glyph in glyphs}


def _keep_sizes(font: TTFont) -> None:
    for sign, ways in _upright(font).items():
        tallest = TALLEST.get(sign, TALLEST["default"])
        kept = [record for record in ways.MathGlyphVariantRecord if record.AdvanceMeasurement <= tallest]
        if len(kept) > 1:
            ways.MathGlyphVariantRecord, ways.VariantCount, ways.GlyphAssembly = kept, len(kept), None


def _lower_primes(font: TTFont) -> None:
    """Draw primes in the form that is made for superscripts, which is where formulas have them: the usual one is raised by itself,
    a superscript would raise it twice. Browsers do not take that form (``ssty``), not even by style: it is registered for one script."""
    lookups = font["GSUB"].table.LookupList.Lookup
    features = [record.Feature for record in font["GSUB"].table.FeatureList.FeatureRecord if record.FeatureTag == "ssty"]
    tables = [getattr(table, "ExtSubTable", table) for feature in features for index in feature.LookupListIndex for table in lookups[index].SubTable]
    forms = {name: others[0] for table in tables for name, others in table.alternates.items()}
    drawn = {code: forms[font.getBestCmap()[code]] for code in map(ord, "′″")}
    for table in font["cmap"].tables:
        if table.format != 14:  # which has the variation sequences
            table.cmap.update(drawn)


def _narrow_radical(font: TTFont) -> None:
    name = _upright(font)["√"].MathGlyphVariantRecord[-1].VariantGlyph
    width, bearing = font["hmtx"][name]
    scale = WIDEST_RADICAL / width
    pen = TTGlyphPen(font.getGlyphSet())
    font.getGlyphSet()[name].draw(TransformPen(pen, (scale, 0, 0, 1, 0, 0)))
    font["glyf"][name] = pen.glyph()
    font["hmtx"][name] = (WIDEST_RADICAL, round(bearing * scale))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
