# counts.awk: prints "PASSED FAILED SKIPPED" for the output of a cmocka program, summed over its groups. From 1.1.7 on, the
# closing lines of a group name the group: `[  SKIPPED ] users: 9 test(s), listed below:`.
/^\[  (PASSED |FAILED |SKIPPED) \] (.*: )?[0-9]+ test\(s\)/ {
    result = $2
    sub(/ test\(s\).*/, "")
    count[result] += $NF
}
END { print count["PASSED"] + 0, count["FAILED"] + 0, count["SKIPPED"] + 0 }
