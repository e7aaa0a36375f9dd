"""Webhook payloads of one invented team, as GitHub and Vercel would send them, for demonstrations and tests.

`two_weeks.json` is `{name, description, webhooks: [{source, eventType, payload}]}`. No code lives here.
"""
