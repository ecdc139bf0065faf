title: A zone names servers for its sister
why: RUSTSEC-2026-0106, CVE-2025-40778: NS records of a sibling zone in an authority section are not a delegation.

world usual
zone evil.test
  www A 203.0.113.66
zone bank.test
  www A 203.0.113.1
server ns.evil.test 10.0.1.1 serves evil.test
  lies www.bank.test. A 6.6.6.6 under bank.test
  poison authority bank.test. NS ns.evil.test. under evil.test
  poison additional ns.evil.test. A 10.0.1.1 under evil.test
server ns.bank.test 10.0.1.2 serves bank.test

---
ask www.evil.test A
expect NOERROR insecure
ask www.evil.test TXT
ask www.bank.test A
expect NOERROR insecure
expect answer www.bank.test A 203.0.113.1
expect server ns.evil.test not asked
