title: A zone names servers for its parent
why: CVE-2025-11411: a child must not move its parent.

world usual
zone evil.test
  www A 203.0.113.66
zone bank.test
  www A 203.0.113.1
server ns.evil.test 10.0.1.1 serves evil.test
  poison authority test. NS ns.evil.test.
  poison additional ns.test. A 10.0.1.1
server ns.bank.test 10.0.1.2 serves bank.test

---
ask www.evil.test A
expect NOERROR insecure
ask www.bank.test A
expect answer www.bank.test A 203.0.113.1
ask none.test A
expect NXDOMAIN secure
expect server ns.evil.test not asked
