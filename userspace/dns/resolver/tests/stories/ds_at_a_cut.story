title: A question for DS is one for the parent
why: RFC 4035 section 3.1.4.1.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask example.test DS
expect NOERROR secure
expect server ns1.example.test never sees example.test DS
ask www.example.test DS
expect NOERROR secure
expect no answer
ask test DS
expect NOERROR secure
ask . DS
expect NOERROR
expect no answer
