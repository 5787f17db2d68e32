"""Evaluation: codecs over folders of pictures, through real files; results, BD-rates, published curves, figures."""
