"""Verifiers of answers in ordinary text: values, output constraints, grounding, procedural tasks; `verify.verify_answer` is the one way in."""
