title: The address in a referral is not the answer to a question for it
why: RFC 2181 section 5.4.1: glue ranks below what the zone itself says.

world usual
zone example.test
  ns1 A 10.0.1.1
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test TXT
expect NOERROR insecure
ask ns1.example.test A
expect NOERROR insecure
expect server ns1.example.test asked
