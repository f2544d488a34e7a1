"""A window of eight tokens in every other layer: less state, which is the point."""

from ground import BASELINE, make_study

study = make_study(BASELINE.replace("blocks.0.mixer.window", 8), changes={"idea": ("blocks.0.mixer.window",)})
