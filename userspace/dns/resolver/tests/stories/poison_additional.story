title: An address of somebody else in the additional section
why: RFC 5452 section 6, Kaminsky 2008: what is out of bailiwick is not believed.

world usual
zone evil.test
  www A 203.0.113.66
zone bank.test
  www A 203.0.113.1
server ns.evil.test 10.0.1.1 serves evil.test
  poison additional www.bank.test. A 6.6.6.6
  poison authority bank.test. NS ns.evil.test.
  poison answer www.bank.test. A 6.6.6.6
server ns.bank.test 10.0.1.2 serves bank.test

---
ask www.evil.test A
expect NOERROR insecure
expect nothing of 6.6.6.6
ask www.bank.test A
expect NOERROR insecure
expect answer www.bank.test A 203.0.113.1
expect nothing of 6.6.6.6
