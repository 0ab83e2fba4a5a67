// SPDX-License-Identifier: Apache-2.0

import Testing

extension InstallationTests {
  /// The installed completions, in the shells that they are for.
  @Suite struct Completions {
    let installation: Installation

    init() throws {
      installation = try Installation()
      let made = try shell(
        """
        mkdir "$DESTDIR/files" "$DESTDIR/files/store"
        touch "$DESTDIR/files/layout.json5" "$DESTDIR/files/storage"
        """, ["DESTDIR": installation.root])
      #expect(made.status == 0, "\(made.output)")
    }

    private var share: String { installation.root + "/usr/local/share" }

    /// What follows `vsocfs `, and what the shell offers for the last word of it.
    private static let cases: [(String, [String])] = [
      ("--la", ["--layout"]), ("--s", ["--store"]), ("--ho", ["--host-socket"]),
      ("--r", ["--region"]), ("--read", []),
      ("--layout l", ["layout.json5"]), ("--host-socket l", ["layout.json5"]),
      ("--store st", ["store"]), ("-f st", ["store"]), ("st", ["store"]),
      ("-o noal", ["noallow_other"]), ("-o lay", ["layout="]), ("-f -o host", ["host_socket="]),
      ("-o subt", []), ("he", []), ("store he", []),
    ]

    @Test func `bash`() throws {
      for (line, expected) in Self.cases {
        let result = try shell(
          """
          cd "$DESTDIR/files"
          source "$DESTDIR/usr/local/share/bash-completion/completions/vsocfs"
          set +eu
          [[ $(complete -p vsocfs) == *" -F _vsocfs vsocfs" ]] || echo "no completion"
          COMP_LINE="vsocfs $LINE" COMP_POINT=${#COMP_LINE}
          read -ra COMP_WORDS <<< "$COMP_LINE"
          COMP_POINT=${#COMP_LINE} COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
          _vsocfs vsocfs "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
          for word in "${COMPREPLY[@]}"; do echo "$word"; done
          """, ["DESTDIR": installation.root, "LINE": line])
        #expect(result.lines == expected, "\(line)")
      }
    }

    @Test func `fish`() throws {
      for (line, expected) in Self.cases {
        let result = try shell(
          #"""
          cd "$DESTDIR/files"
          HOME=$PWD fish --no-config -c '
            source $DESTDIR/usr/local/share/fish/vendor_completions.d/vsocfs.fish
            complete --do-complete "vsocfs $LINE"' | sed -E 's/\t.*//; s|/$||'
          """#, ["DESTDIR": installation.root, "LINE": line])
        #expect(result.lines == expected, "\(line)")
      }
    }

    /// One that is interactive, at a terminal: what it makes of the line when a tab comes.
    @Test func `zsh`() throws {
      let lines = Self.cases.map(\.0)
      let result = try shell(
        #"""
        cd "$DESTDIR/files"
        cat > zshrc <<'END'
        PS1='> '
        fpath=("$DESTDIR/usr/local/share/zsh/site-functions" $fpath)
        autoload -Uz compinit
        compinit -D -u
        setopt no_list_beep no_beep
        show() { print -r -- "{{$BUFFER}}" }
        zle -N show
        bindkey '^T' show
        print ready
        END
        cat > driver <<'END'
        zmodload zsh/zpty
        zpty shell env TERM=dumb zsh -f -i
        zpty -w shell 'source ./zshrc'
        zpty -r shell output $'*ready\r\n*' || exit
        for line; do
          zpty -w -n shell $'\x15'"vsocfs $line"$'\t\x14'
          zpty -r shell output "*{{*}}*" || exit
          print -r -- "${${output##*\{\{}%%\}\}*}"
        done
        zpty -d shell
        END
        IFS=:
        zsh -f driver $LINES_TO_COMPLETE
        """#, ["DESTDIR": installation.root, "LINES_TO_COMPLETE": lines.joined(separator: ":")])
      for (index, (line, expected)) in Self.cases.enumerated() {
        let words = line.split(separator: " ")
        let completed = (words.dropLast() + [expected.first.map { $0[...] } ?? words.last!])
          .joined(separator: " ")
        let output = index < result.lines.count ? result.lines[index] : "nothing: \(result.output)"
        #expect(output.withoutEnd == "vsocfs " + completed, "\(line)")
      }
    }
  }
}

extension String {
  /// Without what a shell puts after a word that is complete.
  fileprivate var withoutEnd: String {
    var text = self[...]
    while text.hasSuffix(" ") || text.hasSuffix("/") { text = text.dropLast() }
    return String(text)
  }
}
