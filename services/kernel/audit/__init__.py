"""Records of acts: who did what, with what outcome; each is written in the transaction of what it is about.

`services.kernel.data` carries them to the database, `services.kernel.audit_trail` verifies and reads them.
"""
