#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SQLite on the mount: both kinds of journal, small synchronous transactions, two writers at a time.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands sqlite3

TRANSACTIONS=40

# writer DB FIRST-ID: transactions of one row each.
writer() {
	local i

	{
		echo ".timeout 200000"
		for ((i = 0; i < TRANSACTIONS; i++)); do
			echo "INSERT INTO t VALUES($(($2 + i)), randomblob(700));"
		done
	} | sqlite3 -bail "$1"
}

two_writers() {
	local first second

	writer "$1" 1000000 &
	first=$!
	writer "$1" 2000000 &
	second=$!
	wait $first && wait $second
}

database() {
	local journal db rows

	for journal in delete wal; do
		db=$MNT/$journal.db
		succeeds "$1, $journal: creates" sqlite3 -bail "$db" \
			"PRAGMA journal_mode=$journal; PRAGMA synchronous=full;
			CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB); BEGIN;
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
			INSERT INTO t SELECT i, randomblob(300) FROM n; COMMIT;
			CREATE INDEX byvalue ON t(v); DELETE FROM t WHERE id % 5 = 0;"
		succeeds "$1, $journal: two writers" two_writers "$db"
		succeeds "$1, $journal: vacuum" sqlite3 -bail "$db" "VACUUM;"
		rows=$(sqlite3 "$db" "PRAGMA mmap_size=8388608; SELECT count(*) FROM t;" | tail -n 1)
		is "$rows" -eq $((4000 + 2 * TRANSACTIONS)) "$1, $journal: all rows are there"
		is "$(sqlite3 "$db" "PRAGMA integrity_check;" 2>&1)" = ok "$1, $journal: integrity_check"
		cp "$BACK/$journal.db" "$WORK/copy.db"
		is "$(sqlite3 "$WORK/copy.db" "SELECT count(*) FROM t; PRAGMA integrity_check;" 2>&1 |
			xargs)" = "$rows ok" "$1, $journal: the backing file is the same database"
		rm -f "$WORK"/copy.db*
	done
}

each_mode 12 database
