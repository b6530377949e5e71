"""Detecting manipulated features between the parts of a split model: noise, attacks, baselines, training and evaluation."""
