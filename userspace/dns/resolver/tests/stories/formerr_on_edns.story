title: The only server of an unsigned zone knows no EDNS (formerr on edns)
why: RFC 6891 section 6.2.2 and DNS flag day 2019: FORMERR means "without EDNS"; silence may.

world usual
zone example.test
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  formerr_on_edns

---
ask www.example.test A
expect NOERROR insecure
expect within 6s
ask mail.example.test A
expect NOERROR insecure
expect within 3s
