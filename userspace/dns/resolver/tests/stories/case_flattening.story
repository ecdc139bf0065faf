title: The only server gives the question back in small letters
why: Some servers flatten the case; without another try (over TCP or without mixed case) their zones would not resolve.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  case_flattening

---
ask www.example.test A
expect NOERROR secure
expect answer www.example.test A 203.0.113.1
expect within 6s
