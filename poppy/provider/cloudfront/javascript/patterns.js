// Patterns of paths and their wildcards; * matches any characters.

// Return the texts that the wildcards match, each as short as possible; null without a match.
function captured(pattern, text) {
    var parts = pattern.split('*'), last = parts.pop(), at = 0, texts = [];
    if (!parts.length) return text === last ? texts : null;
    for (var i = 0; i < parts.length; i++) {
        var found = text.indexOf(parts[i], at);
        if (found < 0 || (i === 0 && found > 0)) return null;
        if (i) texts.push(text.slice(at, found));
        at = found + parts[i].length;
    }
    var end = text.length - last.length;
    if (end < at || !text.endsWith(last)) return null;
    texts.push(text.slice(at, end));
    return texts;
}

function matches(pattern, text) { return captured(pattern, text) !== null; }
