title: Keys with one tag, and signatures to try with each
why: KeyTrap (CVE-2023-50387): the product of keys and signatures must not be tried.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  keytrap 40 20

---
ask www.example.test A
expect SERVFAIL bogus
expect within 7s
expect at most 64 queries
ask mail.example.test A
expect SERVFAIL bogus
