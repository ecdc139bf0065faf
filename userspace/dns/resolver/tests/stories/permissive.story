title: Validation that only reports
why: A first week with validation: what would fail is given, and said.

resolver validation permissive
world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  expired

---
ask www.example.test A
expect NOERROR
expect answer www.example.test A 203.0.113.1
expect ede 7
