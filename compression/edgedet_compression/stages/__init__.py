"""Stages of recipes: each reads networks of earlier stages and writes its own folder."""
