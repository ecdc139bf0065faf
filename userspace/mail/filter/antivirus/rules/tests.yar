// Texts that everyone agreed upon, to see whether somebody looks. Written as numbers, so that nobody takes this file for one.

rule eicar
{
    meta:
        name = "Test.EICAR"
        verdict = "found"
        weight = 10
        reason = "is the test file of virus scanners; it does no harm"
    strings:
        $text = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D
                  53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A }
    condition:
        // By the agreement, it stands at the start, and nothing but blanks follows.
        filesize <= 128 and $text at 0
}

rule gtube
{
    meta:
        name = "Test.GTUBE"
        verdict = "suspicious"
        weight = 10
        reason = "has the test text of spam filters"
    strings:
        $text = { 58 4A 53 2A 43 34 4A 44 42 51 41 44 4E 31 2E 4E 53 42 4E 33 2A 32 49 44 4E 45 4E 2A 47 54 55 42 45 2D
                  53 54 41 4E 44 41 52 44 2D 41 4E 54 49 2D 55 42 45 2D 54 45 53 54 2D 45 4D 41 49 4C 2A 43 2E 33 34 58 }
    condition:
        $text
}
